# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of Patroni with a real etcd, on this machine or on hosts of their own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg2

from .namespaces import Host
from .servers import clean_environment, free_port, installation, system_user

PASSWORD = "lab 'secret'"
MISSING = [name for name in ("patroni", "etcd") if shutil.which(name) is None]
if installation(15) is None:
    MISSING.append("PostgreSQL 15")


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = condition()
        except (OSError, psycopg2.Error):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Member:
    """A Patroni with its server."""

    def __init__(self, name: str, root: Path, etcd: int, user: pwd.struct_passwd, host: Host | None = None) -> None:
        self.name, self.root, self._user, self.host = name, root, user, host
        self.data = Path("/srv/pg/data") if host else root / name
        self.port, self.rest = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.rest}"
        chosen = installation(15)
        assert chosen is not None
        self.bindir = chosen.bindir
        login = {"username": "postgres", "password": PASSWORD}
        self._configuration = {
            "scope": "lab",
            "name": name,
            "restapi": {
                "listen": f"127.0.0.1:{self.rest}",
                "connect_address": f"127.0.0.1:{self.rest}",
                "authentication": {"username": "rest", "password": PASSWORD},
            },
            "etcd3": {"host": f"127.0.0.1:{etcd}"},
            "bootstrap": {
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 5, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(self.bindir),
                "pgpass": str(root / f"{name}.pgpass"),
                "authentication": {"superuser": login, "replication": {"username": "replicator", "password": PASSWORD}},
                "parameters": {"unix_socket_directories": str(root)},
                "pg_hba": ["local all all scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256",
                           "host replication all 127.0.0.1/32 scram-sha-256"],
            },
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.root / f"{self.name}.json"  # which is YAML too
        path.write_text(json.dumps(self._configuration))
        path.chmod(0o600)
        os.chown(path, self._user.pw_uid, self._user.pw_gid)
        if self.host:
            self.host.run("install", "-d", "-o", self._user.pw_name, str(self.data.parent))
        self._process = run(
            ["patroni", str(path)], self.root / f"{self.name}.log", self._user, self.host.inside if self.host else ()
        )

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def says(self, path: str = "patroni") -> dict[str, Any]:
        with urlopen(f"{self.url}/{path}", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(**self.words())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def words(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1", "port": self.port, "user": "postgres", "password": PASSWORD, "dbname": "postgres",
        }  # fmt: skip

    def login(self) -> dict[str, Any]:
        return {
            "login_host": "127.0.0.1",
            "login_port": self.port,
            "login_user": "postgres",
            "login_password": PASSWORD,
            "bin_dir": str(self.bindir),
        }

    @property
    def rest_options(self) -> dict[str, Any]:
        return {"url": self.url, "username": "rest", "password": PASSWORD}

    def control(self, *words: str) -> str:
        """patronictl."""
        argv = ["patronictl", "-c", str(self.root / f"{self.name}.json"), *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=clean_environment(), timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def run(argv: list[str], log: Path, user: pwd.struct_passwd, inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    if inside:  # which only root can
        argv = [*inside, "runuser", "-u", user.pw_name, "--", *argv]
    identity: dict[str, Any] = (
        {} if os.geteuid() or inside else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    )
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**clean_environment(), "LC_ALL": "C.UTF-8", "HOME": str(log.parent)},
            start_new_session=True,
            **identity,
        )


def is_in(member: Member, role: tuple[str, ...]) -> bool:
    return member.says("health")["role"] in role and bool(member.query("SELECT 1"))


@contextmanager
def cluster_of(names: Sequence[str], hosts: Sequence[Host] = ()) -> Iterator[list[Member]]:
    """A leader, the first, and its replicas; each on its own host, where hosts are given."""
    user = system_user()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp")))
        os.chown(root, user.pw_uid, user.pw_gid)
        root.chmod(0o755)
        client, peer = free_port(), free_port()
        urls = [f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"]
        etcd = run(
            ["etcd", f"--data-dir={root}/etcd", f"--listen-client-urls={urls[0]}", f"--advertise-client-urls={urls[0]}",
             f"--listen-peer-urls={urls[1]}", f"--initial-advertise-peer-urls={urls[1]}",
             f"--initial-cluster=default={urls[1]}"],
            root / "etcd.log", user,
        )  # fmt: skip
        stack.callback(etcd.wait)
        stack.callback(etcd.terminate)
        wait_for(lambda: urlopen(f"{urls[0]}/health", timeout=5).read(), "etcd did not start")
        members = [
            Member(name, root, client, user, hosts[number] if hosts else None) for number, name in enumerate(names)
        ]
        for number, member in enumerate(members):
            role = ("replica",) if number else ("master", "primary")
            if not hosts:  # what runs on a host of its own ends with it
                stack.callback(member.stop)
            member.start()
            wait_for(partial(is_in, member, role), f"{member.name} did not become {role[-1]}")
        yield members
