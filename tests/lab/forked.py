# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules in processes of their own that need not import Ansible first: one process imports it once, and each module is a fork of that.

What differs from a module that Ansible starts: its command line and first environment in /proc are the other process's, and so is a part
of its memory. Tests that look at these ask for a process from scratch.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from unittest import mock

# What modules import before they know what they are to do, and the library that most tests of stores need.
_PRELOAD = ["lab.forked", "ansible.module_utils.basic", "psycopg2.extras", "psycopg2.sql", "boto3"]
_CONTEXT = multiprocessing.get_context("forkserver")


def start_server(modules: Sequence[str], path: Sequence[str], locale: str) -> None:
    """Start the process that all are forks of, unless it runs; ``path`` is where Python finds what is imported there."""
    forkserver.set_forkserver_preload([*_PRELOAD, *modules])
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(path), "LC_ALL": locale}):
        forkserver.ensure_running()


class ForkedModule:
    """As much of ``subprocess.Popen`` as the tests use; the module's arguments are its standard input."""

    def __init__(self, module: str, arguments: str, env: Mapping[str, str]) -> None:
        (stdin, given), (told, stdout), (complained, stderr) = (_CONTEXT.Pipe(duplex=False) for _number in range(3))
        self._process = _CONTEXT.Process(target=_child, args=(module, dict(env), stdin, stdout, stderr), daemon=True)
        self._process.start()
        for end in (stdin, stdout, stderr):
            end.close()
        self._readers = [_Reader(told), _Reader(complained)]
        with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(given.fileno()), "w", encoding="utf-8") as stream:
            given.close()
            stream.write(arguments)

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote, once it and all that has its output have ended."""
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        self.wait(timeout)
        stdout, stderr = (reader.text() for reader in self._readers)
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Reader(threading.Thread):
    def __init__(self, end: Connection) -> None:
        super().__init__(daemon=True)
        self._end, self._blocks = end, list[bytes]()
        self.start()

    def run(self) -> None:
        while block := os.read(self._end.fileno(), 1 << 16):
            self._blocks.append(block)
        self._end.close()

    def text(self) -> str:
        return b"".join(self._blocks).decode("utf-8", "surrogateescape")


def _child(module: str, env: dict[str, str], stdin: Connection, stdout: Connection, stderr: Connection) -> None:
    """In the fork: become what ``python -m MODULE`` would be, and end as it does."""
    os.setsid()
    for number, end in enumerate((stdin, stdout, stderr)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), encoding="utf-8")
    sys.argv = [module]
    os.environ.clear()
    os.environ.update(env)
    os.chdir("/")
    sys.modules.pop(module, None)  # imported, but never run
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:  # a fork ends without what an interpreter does at its end
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
