# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on this host: its data directory, and starting and stopping it, as the user who owns it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import guard
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account, as_user


def run_as(
    owner: Optional[str],
    argv: Sequence[str],
    env: Optional[Mapping[str, str]] = None,
    timeout: Optional[float] = None,
    cwd: str = "/",
) -> subprocess.CompletedProcess[str]:
    """Run a program as the owner, in ``cwd``, a directory that it may read, with messages in English.

    Its output is kept in a file, as a server that it starts would hold a pipe open. The caller reads the exit code.

    Raises:
        ToolError: it is missing, or took longer than ``timeout`` seconds.
    """
    home = account(owner).pw_dir if owner else os.path.expanduser("~")
    with tempfile.TemporaryFile() as output:
        try:
            code = guard.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "HOME": home, "LC_ALL": "C", **(env or {})},
                timeout=timeout,
                **as_user(owner),
            )
        except subprocess.TimeoutExpired as exc:
            output.seek(0)
            raise ToolError.too_slow(argv, exc.timeout, output.read().decode("utf-8", "replace")) from exc
        except OSError as exc:
            raise ToolError.not_started(argv, exc) from exc
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return subprocess.CompletedProcess(list(argv), code, text, "")


class Instance:
    """The server of a data directory. ``bin_dir`` holds PostgreSQL's programs of its version."""

    def __init__(self, directory: str, bin_dir: str, owner: str, configuration: Optional[str] = None) -> None:
        self.directory, self.bin_dir, self.owner = directory, bin_dir, owner
        #: the postgresql.conf, where it lies outside the data directory, as Debian's does
        self.configuration = configuration

    def program(self, name: str) -> str:
        """A program's path. Raises ToolError when it is not there."""
        path = os.path.join(self.bin_dir, name)
        if not os.access(path, os.X_OK):
            raise ToolError(f"There is no {name} in {self.bin_dir}. Install the server's package, or name bin_dir.")
        return path

    def control(self) -> dict[str, str]:
        """What pg_controldata says, by its own words. Raises ServerError when the directory is none of a server."""
        done = run_as(self.owner, [self.program("pg_controldata"), "-D", self.directory])
        if done.returncode:
            raise ServerError(
                f"{self.directory} is no data directory of a server: {' '.join(done.stdout.split())}"
            ) from ToolError.failed(done.args, done.returncode, done.stdout)
        pairs = (line.partition(":") for line in done.stdout.splitlines())
        return {name.strip(): value.strip() for name, _colon, value in pairs}

    def pid(self) -> Optional[int]:
        """The postmaster's process id; None when the server does not run."""
        try:
            with open(os.path.join(self.directory, "postmaster.pid"), encoding="utf-8") as stream:
                number = int(stream.readline())
            os.kill(number, 0)
        except PermissionError:
            return number  # it is there, and somebody else's
        except (OSError, ValueError):
            return None
        return number

    def start(self, log: str, wait: bool = True, timeout: int = 60, settings: Sequence[str] = ()) -> None:
        """Start it, with its output in ``log``. ``settings`` are arguments for postgres itself.

        Raises:
            ServerError: it did not come up; the end of its log is told.
        """
        arguments = list(settings)
        if self.configuration:
            arguments += ["-c", f"config_file={self.configuration}"]
        argv = [self.program("pg_ctl"), "-w" if wait else "-W", "-t", str(timeout)]
        env, cwd = {}, "/"
        if re.search(r'["$`\\]', self.directory + log):
            # pg_ctl writes both into a command for a shell, between double quotes.
            env, cwd = {"PGDATA": self.directory}, os.path.dirname(log)
            argv += ["-l", os.path.basename(log)]
        else:
            argv += ["-D", self.directory, "-l", log]
        if arguments:
            argv += ["-o", " ".join("'" + argument.replace("'", "'\\''") + "'" for argument in arguments)]
        done = run_as(self.owner, [*argv, "start"], env, cwd=cwd)
        if done.returncode:
            raise ServerError(f"The server in {self.directory} did not start. {last_words(log)}") from ToolError.failed(
                done.args, done.returncode, done.stdout
            )

    def stop(self, mode: str = "fast", timeout: int = 60) -> None:
        """Stop it. Raises ServerError when it does not."""
        argv = [self.program("pg_ctl"), "-D", self.directory, "-m", mode, "-w", "-t", str(timeout), "stop"]
        done = run_as(self.owner, argv)
        if done.returncode and self.pid() is not None:
            raise ServerError(
                f"The server in {self.directory} did not stop: {' '.join(done.stdout.split())}"
            ) from ToolError.failed(done.args, done.returncode, done.stdout)


def last_words(log: str, lines: int = 12) -> str:
    """The end of a server's log, for a message."""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            text = stream.read()[-16384:].splitlines()
    except OSError:
        return "It wrote no log."
    # What is wrong in a configuration is told before the end, and as no more than a LOG.
    telling = [
        line for line in text if re.search(r"FATAL|PANIC|ERROR|HINT|DETAIL|configuration|parameter", line)
    ] or text
    return "Its log says: " + " / ".join(line.strip() for line in telling[-lines:])


def may(owner: str, what: str, path: str) -> bool:
    """Whether a user may read (``-r``) or write (``-w``) there."""
    return run_as(owner, ["test", what, path], timeout=60).returncode == 0


def configuration_of(directory: str) -> Optional[str]:
    """The configuration file that a server was last started with, when it is not in its directory (Debian)."""
    try:
        with open(os.path.join(directory, "postmaster.opts"), encoding="utf-8") as stream:
            text = stream.read()
    except OSError:
        return None
    for path in re.findall(r'"(?:--)?config_file=([^"]*)"', text):
        if os.path.dirname(os.path.realpath(path)) != os.path.realpath(directory):
            return str(path)
    return None


def check_service(name: str) -> None:
    """Raises ServerError: systemd, or the unit, is not here; asked before anything is done that the unit is to end."""
    if shutil.which("systemctl") is None:
        raise ServerError(
            f"There is no systemctl on this host, by which the unit {name!r} would be started. Leave service out: pg_ctl starts it then."
        )
    done = run_as(None, ["systemctl", "cat", name], timeout=60)
    if done.returncode:
        raise ServerError(
            f"systemd on this host has no unit {name!r}: {' '.join(done.stdout.split())[:200]}. Check service, or leave it out: pg_ctl "
            "starts the server then."
        )


def unit_of(pid: Optional[int]) -> Optional[str]:
    """The unit of systemd that a server was started by: what stops it by another way leaves the unit failed, and starts it behind systemd's
    back. None: none, or we are not root and may not ask for it."""
    if pid is None or os.geteuid() != 0 or not os.path.isdir("/run/systemd/system"):
        return None
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as stream:
            names = re.findall(r"/([^/\n]+\.service)$", stream.read(), re.MULTILINE)
    except OSError:
        return None
    for name in dict.fromkeys(names):
        # A session, or cron, has a unit too; a server is its own unit's main process.
        done = run_as(None, ["systemctl", "show", "--property=MainPID", "--value", name], timeout=60)
        if done.returncode == 0 and done.stdout.strip() == str(pid):
            return str(name).removesuffix(".service")
    return None


def own_unit(pid: Optional[int], named: Optional[str]) -> Optional[str]:
    """The unit of systemd by which a running server is stopped and started: the one that is ``named``, else the one that it runs by. A name
    that stands for all servers of the host, as Debian's postgresql does, means this server's own.

    Raises:
        BadOption: what is named is another one's, which would be stopped in this server's place.
    """
    by = unit_of(pid) if pid is not None else None
    if by is None or named is None:
        return named or by
    done = run_as(None, ["systemctl", "show", "--property=Id,ConsistsOf", named], timeout=60)
    told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if told.get("Id", "").removesuffix(".service") == by:
        return named
    if f"{by}.service" in told.get("ConsistsOf", "").split():
        return by
    raise BadOption(
        "service",
        named,
        f"is not the unit of this server (process {pid}), which runs by {by}",
        f"Name {by}, or leave it out. Nothing was stopped.",
    )


def service(what: str, name: str) -> None:
    """Let systemd start or stop a unit. Raises ServerError when it does not."""
    done = run_as(None, ["systemctl", what, name], timeout=600)
    if done.returncode:
        raise ServerError(f"systemctl {what} {name} failed: {' '.join(done.stdout.split())}") from ToolError.failed(
            done.args, done.returncode, done.stdout
        )
    time.sleep(0.2)
