# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that Patroni manages, by a real Patroni with a real etcd: what we change goes through it, and what we cannot is refused."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg2
import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.servers import clean_environment, free_port, installation

NEEDED = ("patroni", "etcd")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
if installation(15) is None:
    MISSING.append("PostgreSQL 15")
pytestmark = [
    pytest.mark.extended,  # apart from `make test`, which is to stay short
    pytest.mark.skipif(
        bool(MISSING), reason=f"{', '.join(MISSING)} not installed (tests/tools/install_patroni.sh does it for root)"
    ),
]
PASSWORD = "lab 'secret'"


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

    def __init__(self, name: str, root: Path, etcd: int, user: pwd.struct_passwd) -> None:
        self.name, self.root, self._user = name, root, user
        self.data = root / name
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
        self._process = run(["patroni", str(path)], self.root / f"{self.name}.log", self._user)

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


def run(argv: list[str], log: Path, user: pwd.struct_passwd) -> subprocess.Popen[bytes]:
    identity: dict[str, Any] = {} if os.geteuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
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


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[Member]]:
    """A leader and a replica."""
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp")))
        os.chown(root, user.pw_uid, user.pw_gid)
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
        members = [Member(name, root, client, user) for name in ("one", "two")]
        for member, role in zip(members, (("master", "primary"), ("replica",))):
            stack.callback(member.stop)
            member.start()
            wait_for(
                lambda member=member, role=role: member.says("health")["role"] in role and member.query("SELECT 1"),
                f"{member.name} did not become {role[-1]}",
            )
        yield members


def directory(member: Member, name: str) -> Path:
    path = member.root / name
    path.mkdir(mode=0o700, exist_ok=True)
    shutil.chown(path, member.data.owner())
    return path


def test_archiving_goes_through_its_configuration(cluster: list[Member]) -> None:
    leader, replica = cluster
    options = {**leader.login(), "repository": {"path": str(directory(leader, "backups"))}}
    assert "patroni.url" in run_module("wal_archive", options).msg
    wrong = {**options, "patroni": {"url": leader.url, "username": "rest", "password": "wrong"}}
    refused = run_module("wal_archive", wrong).msg
    assert "patroni.username" in refused and PASSWORD not in refused
    options["patroni"] = leader.rest_options
    # What somebody set past it would go before Patroni's own.
    leader.query("ALTER SYSTEM SET archive_timeout = '7min'")
    planned = ok(run_module("wal_archive", options, check=True))
    assert planned["changed"] and "archive_mode" not in leader.says("config").get("postgresql", {}).get(
        "parameters", {}
    )
    done = ok(run_module("wal_archive", options))
    assert done["plan"] == planned["plan"] and done["restart_required"] and "archive_mode" in done["waiting"]
    parameters = leader.says("config")["postgresql"]["parameters"]
    assert parameters["archive_mode"] == "on" and parameters["archive_timeout"] == "1min"
    assert "archive" not in (leader.data / "postgresql.auto.conf").read_text()
    assert not ok(run_module("wal_archive", options))["changed"]
    leader.control("restart", "lab", "--force")
    wait_for(lambda: leader.query("SHOW archive_mode") == [("on",)], "the leader did not restart")
    wait_for(lambda: replica.query("SHOW archive_command")[0][0] == done["archive_command"], "the replica lacks it")
    wait_for(lambda: leader.query("SELECT pg_is_in_recovery()") == [(False,)], "no leader")
    assert ok(run_module("wal_archive", {**options, "state": "verified"}))["canary"]["segment"]
    assert not ok(run_module("wal_archive", options))["changed"]


def test_another_cluster_is_never_written_to(cluster: list[Member], server_factory: Callable[..., Any]) -> None:
    """Kind: writing to whoever answers. A patroni.url of a cluster on the same host that is not this server's: another system identifier,
    or a Patroni that answers for a server that its members do not know. Nothing is changed in either."""
    leader, _replica = cluster
    other = server_factory(15)
    (other.data / "patroni.dynamic.json").write_text("{}")
    shutil.chown(other.data / "patroni.dynamic.json", other.data.owner())
    before = leader.says("config")
    options = {**other.client_options(), "repository": {"path": str(directory(leader, "others"))}}
    for state in ("present", "absent", "verified"):
        refused = run_module("wal_archive", {**options, "patroni": leader.rest_options, "state": state}).msg
        assert "another cluster's" in refused and "patroni.url" in refused
    assert leader.says("config") == before
    assert "archive_command" not in (other.data / "postgresql.auto.conf").read_text()


def test_every_member_is_to_archive_before_it_is_called_proven(cluster: list[Member]) -> None:
    """Kind: one member proven, all promised. The replica still waits for its restart: a switchover would end archiving. And its slots are
    Patroni's: streaming is refused, as a slot of ours is dropped at the next restart."""
    leader, replica = cluster
    options = {
        **leader.login(),
        "repository": {"path": str(directory(leader, "backups"))},
        "patroni": leader.rest_options,
    }
    leader.control("edit-config", "lab", "--force", "-s", "postgresql.parameters.max_prepared_transactions=7")
    wait_for(lambda: replica.query("SELECT count(*) FROM pg_settings WHERE pending_restart") == [(1,)], "no change")
    leader.control("restart", "lab", "one", "--force")
    wait_for(lambda: leader.query("SELECT pg_is_in_recovery()") == [(False,)], "no leader")
    wait_for(lambda: "two" in str([m for m in leader.says("cluster")["members"] if m.get("pending_restart")]), "unseen")
    # Patroni answers before its server takes connections again.
    wait_for(lambda: not run_module("wal_archive", options, check=True).failed, "the leader does not come back")
    said = ok(run_module("wal_archive", options))
    assert said["members"] == ["two"] and said["restart_required"] and said["patroni"]
    assert "two" in run_module("wal_archive", {**options, "state": "verified"}).msg
    # On the replica's own host the files are prepared, and nothing is asked of it that only a leader can do.
    own = {**options, **replica.login(), "patroni": replica.rest_options}
    assert not ok(run_module("wal_archive", own))["changed"]
    leader.control("restart", "lab", "two", "--force")
    wait_for(lambda: run_module("wal_archive", options).result.get("restart_required") is False, "it waits for ever")
    wait_for(lambda: not run_module("wal_archive", {**own, "state": "verified"}).failed, "the replica is not proven")
    assert "streaming: false" in run_module("wal_archive", {**options, "streaming": True}).msg


def test_its_standbys_are_its_own(cluster: list[Member]) -> None:
    leader, replica = cluster
    options = {
        "data_directory": str(replica.data),
        "primary_host": "127.0.0.1",
        "primary_port": leader.port,
        "primary_user": "postgres",
        "primary_password": PASSWORD,
        "bin_dir": str(leader.bindir),
    }
    assert "patronictl reinit" in run_module("pg_standby", options).msg
    assert "patronictl switchover" in run_module("pg_standby", {**replica.login(), "state": "promoted"}).msg
    seen = {**options, **replica.login(), "state": "verified"}
    wait_for(lambda: not run_module("pg_standby", seen).failed, "the replica does not follow")
    assert ok(run_module("pg_standby", seen))["standby"]["receiver"]["status"] == "streaming"


def test_a_cluster_goes_back_to_a_moment(cluster: list[Member]) -> None:
    """Pause, restore on the leader, make the replica anew, resume."""
    leader, replica = cluster
    place = {"repository": {"path": str(directory(leader, "backups"))}}
    leader.query("CREATE TABLE precious AS SELECT generate_series(1, 100) AS n")
    ok(run_module("pg_backup", {**leader.login(), **place, "engine": "pg_basebackup"}))
    leader.query("INSERT INTO precious VALUES (101)")
    ok(run_module("pg_restore_point", {**leader.login(), "name": "before the mistake"}))
    leader.query("DROP TABLE precious")
    ok(run_module("wal_archive", {**leader.login(), **place, "patroni": leader.rest_options, "state": "verified"}))
    options = {
        **place,
        "bin_dir": str(leader.bindir),
        "data_directory": str(leader.data),
        "recovery_target": {"name": "before the mistake"},
        "force": True,
        "confirm": [str(leader.data)],
        "stop_server": True,
        "keep_archiving": True,
    }
    refused = run_module("pg_recover", options).msg
    assert "patronictl pause" in refused and "patronictl resume" in refused
    assert "precious" not in str(leader.query("SELECT relname FROM pg_class")) and leader.says()["state"] == "running"
    leader.control("pause", "lab", "--wait")
    wait_for(lambda: not run_module("pg_recover", options, check=True).failed, "Patroni's pause is not seen")
    done = ok(run_module("pg_recover", options))
    assert done["recovery"]["state"] == "promoted"
    assert leader.query("SELECT count(*), max(n) FROM precious") == [(101, 101)]
    wait_for(
        lambda: leader.says("leader")["state"] == "running", "Patroni does not see the restored server as its leader"
    )
    leader.control("reinit", "lab", "two", "--force", "--wait")
    leader.control("resume", "lab", "--wait")
    wait_for(lambda: replica.query("SELECT count(*), pg_is_in_recovery() FROM precious") == [(101, True)], "no replica")
    leader.query("INSERT INTO precious VALUES (102)")
    wait_for(lambda: replica.query("SELECT max(n) FROM precious") == [(102,)], "the replica does not follow")
    assert leader.query("SELECT pg_is_in_recovery(), current_setting('archive_mode')") == [(False, "on")]
