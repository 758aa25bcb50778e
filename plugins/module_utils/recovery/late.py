# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where replayed WAL makes tablespaces, which it does at their own locations: what there is by it, and what is somebody's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.server.neighbours import (
    running_servers,
    tablespaces,
    user_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

# The directory of a tablespace that belongs to a version of PostgreSQL and of its catalogues.
_VERSION = re.compile(r"PG_\d+(\.\d+)?_\d+")


def identity(path: str) -> list[int]:
    """What tells a directory from another one at its path. Raises OSError."""
    status = os.stat(path)
    return [status.st_dev, status.st_ino]


def somebodys(path: str, was: list[int], oid: str, made: str, others: list[str]) -> Optional[str]:
    """Why what is at the location of a tablespace is not by replaying alone, in words that follow the path; None: it is, or nothing is
    there.

    Args:
        was: the ``identity`` that the directory had when it was given to the replaying, empty.
        oid: the tablespace's.
        made: the data directory of the server that replayed.
        others: data directories whose links may lead there by another tablespace.
    """
    try:
        now, names = identity(path), sorted(os.listdir(path))
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"cannot be looked into ({exc.strerror})"
    if now != was:
        return "is another directory than the one that replaying was given"
    if not names:
        return None
    strange = [name for name in names if not _VERSION.fullmatch(name)]
    if strange:
        return f"has {', '.join(strange[:5])} in it, which replaying does not make"
    wanted = os.path.realpath(path)
    if os.path.realpath(tablespaces(made).get(oid, "/")) != wanted:
        return "has a tablespace in it that replaying has not made"
    for data in others:
        if any(key != oid and os.path.realpath(link) == wanted for key, link in tablespaces(data).items()):
            return f"has a tablespace of the server in {data} in it"
    user = user_of(path, running_servers(), made)
    return f"is used by the server that runs in {user}" if user else None


def end_replaying(staged: str) -> None:
    """End a private server that outlived the run that started it, and would go on replaying into directories that are taken back."""
    if os.path.realpath(staged) not in map(os.path.realpath, running_servers()):
        return
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(staged, "postmaster.pid"), encoding="utf-8") as stream:
            os.kill(int(stream.readline()), signal.SIGQUIT)  # an immediate shutdown
        Waiter(30).until({"ended": lambda: True if staged not in running_servers() else None})
