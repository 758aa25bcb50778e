# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary directories of a run, and what killed runs left of theirs.

Who is alive is told by a lock of the kernel, which goes with its process. A process id tells nothing: whoever shares the parent directory
can be in another pid namespace (a container), or on another host.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_PREFIX = "holdfast-run-"
_LOCK = "lock"  # in each of them
# A socket's path has at most 107 bytes (unix(7)), and gpg-agent's lies in our directory.
_LONGEST_PARENT = 60


@contextlib.contextmanager
def workspace(parent: Optional[str] = None) -> Iterator[str]:
    """A directory of mode 0700 for passfiles and gpg, or for what is unpacked; what runs that were killed left there is
    removed first.

    Raises:
        BadOption: ``parent``, the option ``scratch_dir``, is no directory that can be written to.
    """
    if parent is None:
        parent = tempfile.gettempdir()
        parent = parent if len(os.fsencode(parent)) <= _LONGEST_PARENT else "/tmp"
    elif not os.access(parent, os.W_OK | os.X_OK):
        raise BadOption("scratch_dir", parent, "is no directory that can be written to", "Name one that is.")
    _clear(parent)
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        lock = _locked(path, "x")
        if lock is not None:
            break
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.close()


def _clear(parent: str) -> None:
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            if not name.startswith(_PREFIX) or os.lstat(path).st_uid != os.getuid():
                continue
            lock = _locked(path, "r+")
            if lock is not None:
                with lock:
                    shutil.rmtree(path, ignore_errors=True)


def _locked(path: str, mode: str) -> Optional[IO[str]]:
    """The lock of a directory, held until it is closed; None: another one has it, or took the directory away.

    Raises:
        OSError: such as, for ``r+``, that there is no lock in it.
    """
    lock = open(os.path.join(path, _LOCK), mode, encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError:  # a file system without locks
        if mode == "r+":
            lock.close()
            raise
        return lock
    if not os.path.exists(lock.name):
        lock.close()
        return None
    return lock
