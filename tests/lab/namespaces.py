# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of their own on this machine: a name, a machine-id, processes, and a private /etc, /var and /srv; the network is this machine's.

What a play writes to its defaults (/etc/cron.d, /etc/holdfast, /var/spool, a home) lands in the host's own layer, where it is compared; the
machine itself keeps as it was. By namespaces and overlays of Linux, as root.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2

from .playbooks import CHECKOUT, PlaybookResult, run_playbook
from .servers import PASSWORD, SETTINGS, SUPERUSER, clean_environment, free_port, pick, system_user

LAYERS = ("etc", "var", "srv")
# Its first process collects those whose parents are gone, as an init does: PostgreSQL takes a zombie's lock file for a running server's.
_INIT = """
set -e
hostname "$1"
mount -t tmpfs tmpfs /mnt
for d in etc var srv; do
  mkdir -p /mnt/$d/upper /mnt/$d/work
  chmod 755 /mnt/$d /mnt/$d/upper
  mount -t overlay overlay -o "lowerdir=/$d,upperdir=/mnt/$d/upper,workdir=/mnt/$d/work" /$d
done
echo "$2" > /etc/machine-id
echo "$1" > /etc/hostname
chmod 755 /mnt
echo ready
exec "$3" -c 'import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)'
"""
# What a server that nobody touches writes by itself.
RESTLESS = re.compile(
    r"(^|/)(pg_wal|pg_stat|pg_stat_tmp|pg_subtrans|pg_xact|pg_logical|pg_replslot|pg_notify|pg_multixact|pg_dynshmem|pg_serial)(/|$)"
    r"|^/var/lib/libuuid/"  # Python's uuid1
    r"|(^|/)(postmaster\.(pid|opts)|pg_internal\.init[^/]*|pg_control|current_logfiles|log)$|/\.s\.PGSQL|/pgsql_tmp"
)


def possible() -> str | None:
    """Why hosts of their own cannot be had here; None: they can."""
    if os.geteuid() != 0:
        return "namespaces want root"
    tried = subprocess.run(
        ["unshare", "--mount", "--uts", "--pid", "--fork", "sh", "-c",
         "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && mount -t overlay o -o lowerdir=/srv,upperdir=/mnt/u,workdir=/mnt/w /srv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else tried.stderr.strip()


class Host:
    """One host. `name` is what `hostname` says there. Use it as a context manager; it ends all that runs on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        machine = secrets.token_hex(16)
        self._process = subprocess.Popen(
            # It ends with these tests, however they end.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child",
             "sh", "-c", _INIT, "init", name, machine, sys.executable],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/", env=clean_environment(),
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready", "the host does not come up"
        first = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]
        self.inside = ["nsenter", f"--target={first}", "--mount", "--uts", "--pid", "--"]

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, *argv: str, user: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on it, as root or `user`."""
        become = ["runuser", "-u", user, "--"] if user else []
        done = subprocess.run(
            [*self.inside, *become, *argv],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/",
            env={**clean_environment(), "LC_ALL": "C"},
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}"
        return done

    def play(self, name: str, variables: Mapping[str, Any], inventory: Path, limit: str, *more: str) -> PlaybookResult:
        """Run a playbook of ours on it, for one host of an inventory."""
        return run_playbook(
            CHECKOUT / "playbooks" / f"{name}.yml", variables, "--limit", limit, *more, inventory=str(inventory), inside=self.inside
        )  # fmt: skip

    def written(self) -> dict[str, str]:
        """What was ever written on it, and is there: each path with its mode, owner and content's sum."""
        script = (
            "cd /mnt && find etc/upper var/upper srv/upper -type d -printf '%p/ %m %u\\n' -o -printf '%p %m %u %l\\n'; "
            # What goes meanwhile is what a server does by itself.
            "find etc/upper var/upper srv/upper -type f ! -path '*/pg_wal/*' -exec sha256sum {} + 2>/dev/null; true"
        )
        found: dict[str, str] = {}
        for line in self.run("sh", "-c", script).stdout.splitlines():
            summed = re.fullmatch(r"([0-9a-f]{64})  (.*)", line)
            path, rest = (summed[2], summed[1]) if summed else tuple(line.split(" ", 1))
            path = "/" + path.replace("/upper", "", 1)
            if not RESTLESS.search(path):
                found[path] = f"{found.get(path, '')} {rest}"
        return found


def below(directory: Path) -> dict[str, str]:
    """The same of a directory that hosts share."""
    found = {}
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):  # a segment gets its name
            if path.is_file() and not path.is_symlink():
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def touched(before: Mapping[str, str], after: Mapping[str, str], own: Iterable[str]) -> list[str]:
    """What is new, gone or another one outside of `own` (parts of paths)."""
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    return sorted(path for path in changed if not any(part in path for part in own))


def scheduled(variables: Mapping[str, Any]) -> dict[str, str]:
    """What a scheduled run is given, of the variables that an inventory has: it runs without that inventory."""
    return {name: f"{{{{ {name} }}}}" for name in variables if not name.startswith("holdfast_schedule_")}


class Cluster:
    """A server on a host, in `data`, with the defaults of initdb. Its owner is the system's user for servers, or `owner`."""

    def __init__(
        self, host: Host, data: str, major: int, settings: Mapping[str, str] | None = None, owner: str = ""
    ) -> None:
        self.host, self.data, self.port = host, data, free_port()
        self.owner = owner or system_user().pw_name
        install = pick(major)
        self.bindir = install.bindir
        parent = str(Path(data).parent)
        host.run("install", "-d", "-o", self.owner, "-m", "755", parent)
        host.run("sh", "-c", f"umask 077; printf %s '{PASSWORD}' > {parent}/pw; chown {self.owner} {parent}/pw")
        host.run(
            install.program("initdb"), "-D", data, "-U", SUPERUSER, "--pwfile", f"{parent}/pw", "--no-sync", "-k", "-A", "scram-sha-256",
            user=self.owner,
        )  # fmt: skip
        host.run("rm", f"{parent}/pw")
        # What a server writes by itself, by the clock, would look as if somebody else's play had touched it.
        quiet = {"autovacuum": "off", "checkpoint_timeout": "1d", "log_checkpoints": "off"}
        chosen = {
            **SETTINGS,
            **quiet,
            "fsync": "off",
            "port": str(self.port),
            "unix_socket_directories": parent,
            **(settings or {}),
        }
        lines = "".join(f"{name} = '{value}'\n" for name, value in chosen.items())
        host.run("sh", "-c", f"cat >> {data}/postgresql.conf <<'END'\n{lines}END")
        self.start()

    def start(self, data: str | None = None) -> None:
        data = data or self.data
        self.host.run(
            str(self.bindir / "pg_ctl"), "-D", data, "-l", f"{data}.log", "-w", "-t", "60", "start", user=self.owner
        )

    def stop(self, data: str | None = None, mode: str = "fast") -> None:
        data = data or self.data
        self.host.run(str(self.bindir / "pg_ctl"), "-D", data, "-m", mode, "-w", "-t", "60", "stop", user=self.owner)

    def restart_command(self) -> list[str]:
        ctl = [str(self.bindir / "pg_ctl"), "-D", self.data, "-l", f"{self.data}.log", "-w", "-m", "fast", "restart"]
        return ["runuser", "-u", self.owner, "--", *ctl]

    def query(self, statement: str, port: int | None = None) -> list[tuple[Any, ...]]:
        with closing(
            psycopg2.connect(
                host="127.0.0.1", port=port or self.port, user=SUPERUSER, password=PASSWORD, dbname="postgres"
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

    def variables(self) -> dict[str, Any]:
        """What its owner writes into the inventory, and no more."""
        return {
            "holdfast_login_host": "127.0.0.1",
            "holdfast_login_port": self.port,
            "holdfast_login_user": SUPERUSER,
            "holdfast_login_password": PASSWORD,
            "holdfast_bin_dir": str(self.bindir),
        }
