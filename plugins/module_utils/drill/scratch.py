# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a drill happens: a directory and a server of its own, which reach nothing, take little, and are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import alone
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import PREFIX, Cell
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.startable import taken_by
from ansible_collections.holdfast.postgres.plugins.module_utils.server.interrupted import STAGED
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

#: where a library that is told no host looks for a server
NOWHERE = "/nonexistent"
_END = 60  # seconds that a server which is told to end at once may take
_GUARDED = 15  # seconds that what a killed drill had started may outlive it
_NICE = 10


class ScratchDirectory:
    """``<scratch_dir>/holdfast-drill-<server_name>``: always the same, so that what a killed drill left is found by the next one."""

    def __init__(self, parent: str, server_name: str, owner: str) -> None:
        if not os.path.isdir(parent) or not os.access(parent, os.W_OK | os.X_OK):
            raise BadOption(
                "scratch_dir",
                parent,
                "is no directory that can be written to",
                "Name one with room for the whole server.",
            )
        self.path = os.path.join(os.path.realpath(parent), f"holdfast-drill-{server_name}")
        self._owner = owner

    @property
    def data(self) -> str:
        """The data directory that is asked for; a recovery makes it beside, under another name."""
        return os.path.join(self.path, "data")

    @property
    def tablespaces(self) -> str:
        """Where tablespaces go."""
        return os.path.join(self.path, "tablespaces")

    def leftover(self) -> Optional[str]:
        """What a killed drill left, or one that was to be kept; None: nothing. Raises BadOption: it is somebody else's."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return None
        ours = {0, os.geteuid(), account(self._owner).pw_uid}
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in ours:
            raise BadOption(
                "scratch_dir",
                self.path,
                "is there, and is no directory of a drill of this server's owner",
                "Look at it, or name another one.",
            )
        return self.path

    @contextlib.contextmanager
    def taken(self, keep: bool) -> Iterator[None]:
        """While nobody else drills there: what was left goes first, and all of it in the end, unless it is to be kept.

        Raises:
            ServerError: another drill is at work there, or a server in it does not end.
        """
        with contextlib.ExitStack() as stack:
            self._alone(stack)
            self.clear()
            make_directory(self.path, self._owner)
            done = False
            try:
                yield
                done = True
            finally:
                if not (keep and done):
                    self.clear()

    def _alone(self, stack: contextlib.ExitStack) -> None:
        """What a killed drill had started ends a moment after it, and holds the lock until then. Raises ServerError."""

        def taken() -> Optional[bool]:
            with contextlib.suppress(ServerError):
                stack.enter_context(alone(self.path))
                return True
            return None

        if Waiter(_GUARDED).until({"alone": taken}) is None:
            raise ServerError(
                f"Another drill is at work in {self.path}. Wait for its end, or name another scratch_dir."
            )

    def clear(self) -> None:
        """End the servers in it, and remove it. Raises ServerError."""
        if self.leftover() is None:
            return
        for directory in (self.data, self.data + STAGED):
            end_server(directory)
        shutil.rmtree(self.path, ignore_errors=True)
        if os.path.lexists(self.path):
            raise ServerError(
                f"{self.path}, where drills happen, cannot be removed: look who uses it. Until then no drill of this server can begin."
            )


def end_server(directory: str) -> None:
    """End the server of a scratch directory, if there is one, and remove its socket's directory. It is told by where it works, as the id in
    its file may be another process's by now. Raises ServerError: it does not end."""
    try:
        with open(os.path.join(directory, "postmaster.pid"), encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return

    def works_there() -> bool:
        try:
            return os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(directory)
        except OSError:
            return False

    if works_there():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        if Waiter(_END).until({"ended": lambda: None if works_there() else True}) is None:
            raise ServerError(
                f"The server of an earlier drill in {directory} (process {pid}) does not end. End it, and run this again."
            )
    sockets = lines[4] if len(lines) > 4 else ""
    if os.path.dirname(sockets) == "/tmp" and os.path.basename(sockets).startswith(PREFIX):
        shutil.rmtree(sockets, ignore_errors=True)


def free_port(wanted: Optional[int]) -> int:
    """The number in the name of the scratch server's socket, which listens on no network. Raises BadOption: it is another server's."""
    if wanted is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])
    taken = taken_by(wanted, "/var/run/postgresql, /tmp")
    if taken is not None:
        raise BadOption(
            "port", wanted, f"is taken by another server on this host ({taken})", "Name a free one, or leave it out."
        )
    return wanted


def give_way() -> str:
    """Let this run, and all that it starts, come after everybody else, for processors and disks. Returns what was done, in words."""
    told = []
    with contextlib.suppress(OSError):
        told.append(f"nice {os.nice(_NICE)}")
    program = shutil.which("ionice")
    if program is not None:
        done = subprocess.run(
            [program, "-c", "2", "-n", "7", "-p", str(os.getpid())],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        told += ["ionice best-effort 7"] if done.returncode == 0 else []
    return ", ".join(told) or "as any other process"


def cell(owner: str) -> tuple[Cell, str]:
    """What keeps a server from the network, and in words what it does. Where this host lets nobody make a network namespace, only what is
    configured keeps it from going out."""
    environment = {"PGHOST": NOWHERE, "PGPORT": "1"}
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    ways: list[tuple[list[str], bool]] = []
    if unshare and os.geteuid() == 0 and setpriv:
        entry = account(owner)
        become = [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]
        if entry.pw_uid:
            ways.append(([unshare, "--net", "--", *become, "--"], True))
    elif unshare and account(owner).pw_uid == os.geteuid():
        ways.append(([unshare, "--user", "--map-current-user", "--net", "--"], False))
    for before, becomes_owner in ways:
        done = subprocess.run([*before, "true"], check=False, stdin=subprocess.DEVNULL, capture_output=True, cwd="/")
        if done.returncode == 0:
            return Cell(before, becomes_owner, environment), "none: it runs in a network namespace of its own"
    return (
        Cell((), False, environment),
        "not shut by the kernel (no network namespace can be made here): no job, subscription or foreign server of it is at work",
    )


def running(memory: str) -> dict[str, str]:
    """Settings by which a scratch server takes little."""
    return {
        "shared_buffers": memory,
        "huge_pages": "off",
        "work_mem": "4MB",
        "maintenance_work_mem": "64MB",
        "max_parallel_workers_per_gather": "0",
        "max_parallel_maintenance_workers": "0",
        "autovacuum": "off",
    }


def limits(memory: str) -> dict[str, str]:
    """The same for its configuration, by which it listens to nobody."""
    return {**running(memory), "listen_addresses": "", "unix_socket_directories": ""}
