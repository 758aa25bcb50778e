# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that ends when the controller does.

A job that is cancelled (AWX kills ansible-playbook) leaves the process that works on the task, which would wait for the module to its end:
backups, prunes and restores went on that nobody would ever hear of. So that process looks whether its controller still is, and goes when it
is not. The module sees that its result can no longer be read, stops, and clears up (module_utils/stopping.py).
"""

from __future__ import annotations

import glob
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LOOK = 1.0  # seconds


@contextmanager
def ends_with_the_controller() -> Iterator[None]:
    """While this block works, the end of the controller is ours. Where tasks are run by the controller itself, nothing is needed."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != os.getppid():
        yield
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(os.getppid(), done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def process() -> int:
    """The process of ansible-playbook itself, also from the one that works on a task."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid else os.getpid()


def has_terminal() -> bool:
    """Whether somebody can answer ansible.builtin.pause, which goes on by itself where nobody can. A task's process has another standard input."""
    try:
        there = os.readlink(f"/proc/{process()}/fd/0")
    except OSError:
        return sys.__stdin__ is not None and sys.__stdin__.isatty()
    return bool(re.match(r"/dev/(pts/\d+|tty\w*|console)$", there))


def _watch(controller: int, done: threading.Event) -> None:
    while not done.wait(_LOOK):
        if os.getppid() != controller:
            # ssh keeps a connection open until it is told; a module on this host ends by the pipe that we let go.
            for path in glob.glob(f"/proc/{os.getpid()}/task/*/children"):
                with suppress(OSError), open(path, encoding="ascii") as stream:
                    for pid in stream.read().split():
                        os.kill(int(pid), signal.SIGTERM)
            os._exit(1)
