# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's whole life by the playbooks and their defaults, beside another one: nothing of that one is touched.

The kinds: two clusters of one host, which share its /etc, /var, cron and user; two hosts of one short name, which share a repository, and
have the same paths. Each play runs twice: the second changes nothing. Before and after each, everything that the hosts have written and the
repository are compared by their sums: what is new or another one carries the name of the server whose play it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.namespaces import Cluster, Host, below, possible, scheduled, touched
from lab.playbooks import PlaybookResult, collections_path
from lab.servers import free_port, system_user

WHY_NOT = possible()
pytestmark = [pytest.mark.extended, pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))]

# New things that are nobody's fault: a directory for all; a segment that the other server archives meanwhile; which repository the host knows,
# by a name that has the repository and the server in it.
BY_ITSELF = re.compile(
    r"/$|/_wal/[0-9A-F]{24}\.\w+$|/archive/.*/[0-9A-F]{24}-[0-9a-f]{40}(\.\w+)?$|/holdfast/repositories/[0-9a-f]{32}\.json$"
)
REMEMBERED = re.compile(r"/holdfast/repositories/[0-9a-f]{32}\.json$")  # whose play made it, has it
AT_WORK = re.compile(r"^/var/(spool|log)/(holdfast/\w+/)?pgbackrest/")  # logs and locks of a server that archives
ENGINES = ["pg_basebackup", *(["pgbackrest"] if shutil.which("pgbackrest") else [])]


@dataclass
class Life:
    """One server's, as its team's plays see it. `own`: parts of the paths that are its own."""

    name: str
    cluster: Cluster
    inventory: Path
    own: tuple[str, ...]
    repository: Path
    hosts: tuple[Host, ...]
    engine_has_a_directory: bool = False

    def looked(self) -> dict[str, str]:
        return {
            **{
                f"{number}:{path}": value
                for number, host in enumerate(self.hosts) for path, value in host.written().items() if not AT_WORK.search(path)
            },
            **below(self.repository),
        }  # fmt: skip

    def play(self, name: str, twice: bool = True, **given: Any) -> PlaybookResult:
        """Run a playbook twice, where a second run is to change nothing. What the first one said."""
        before = self.looked()
        variables = {f"holdfast_{key}": value for key, value in given.items()}
        first = self.cluster.host.play(name, variables, self.inventory, self.name)
        assert first.returncode == 0, f"{name} of {self.name}: {first.stdout}{first.stderr}"
        after = self.looked()
        # A slot, and the file of its password, have a name of host and data directory.
        self.own += tuple(
            f"/{slot}."
            for found in first.of("holdfast.postgres.pg_standby")
            if (slot := found.get("standby", {}).get("slot_name"))
        )
        others = [path for path in touched(before, after, self.own) if path in before or not BY_ITSELF.search(path)]
        assert not others, f"{name} of {self.name} touched {others}"
        self.own += tuple(path for path in after if path not in before and REMEMBERED.search(path))
        if not twice:
            return first
        again = self.cluster.host.play(name, variables, self.inventory, self.name)
        assert again.returncode == 0 and not again.changed, f"{name} of {self.name} again: {again.stdout}"
        # A proof that segments arrive is a segment that arrives.
        living = (
            f"{self.cluster.data}/",
            f"{self.cluster.data}.log",
            f"{self.cluster.data}-standby",
            "/_wal/",
            "/archive/",
        )
        foreign = touched(after, self.looked(), living)
        assert not foreign, f"{name} of {self.name}, a second time, wrote {foreign}"
        return first


def shared_repository(stack: ExitStack) -> tuple[Path, Path]:
    """A directory of the scenario, and the repository in it."""
    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-scenario-", dir="/tmp")))
    root.chmod(0o755)
    repository = root / "repository"
    repository.mkdir(mode=0o700)
    os.chown(repository, system_user().pw_uid, system_user().pw_gid)
    return root, repository


def written_inventory(path: Path, hosts: Mapping[str, Mapping[str, Any]], common: Mapping[str, Any]) -> Path:
    shared = {
        "holdfast_schedule_ansible_playbook": str(Path(sys.executable).parent / "ansible-playbook"),
        "holdfast_schedule_collections_path": str(collections_path()),
        "holdfast_schedule_variables": scheduled({**common, **next(iter(hosts.values()))}),
        **common,
    }
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    return path


def live(lives: list[Life], promoted: bool = True) -> None:
    """From the first setup to a promotion, each step of each server in turn; or to a standby, that is not `promoted`."""
    for life in lives:
        cluster = life.cluster
        cluster.query(f"CREATE TABLE t AS SELECT '{life.name}' AS whose, n FROM generate_series(1, 100) n")
        cluster.query("CHECKPOINT")
    setup = {"setup_archiving": True, "archive_restart": True}
    for life in lives:
        life.play("setup", **setup, archive_restart_command=life.cluster.restart_command())
    for life in lives:
        life.play("schedule")
    for life in lives:
        life.play("backup", backup_max_age="1d")
    for life in lives:
        life.cluster.query("INSERT INTO t VALUES ('later', 101)")
        life.play("restore_point", twice=False, restore_point_name="before")
        life.cluster.query("INSERT INTO t VALUES ('mistake', 102)")
    for life in lives:
        data = life.cluster.data
        life.play("recover", data_directory=data, recovery_target={"name": "before"}, recover_stop_server=True,
                  recover_force=True, recover_confirm=[data])  # fmt: skip
        assert life.cluster.query("SELECT max(n) FROM t") == [(101,)]
        life.play("setup", **setup, archive_restart_command=life.cluster.restart_command())
        life.cluster.query("CHECKPOINT")
    ports = [free_port() for _life in lives]
    for life, port in zip(lives, ports):
        life.play("standby", **standby_of(life, life.cluster.data + "-standby", port))
        assert life.cluster.query("SELECT count(*), max(n) FROM t", port) == [(101, 101)]
    for life in lives:  # what archives the primary is as it was
        life.play("archive")
    for life, port in zip(lives, ports if promoted else []):
        life.cluster.stop()
        life.play("promote", login_port=port, data_directory=life.cluster.data + "-standby", promote_max_lag_bytes=0)
        life.cluster.query("INSERT INTO t VALUES ('promoted', 103)", port)
    for life, port in zip(lives, ports if promoted else []):
        rows = f"SELECT count(*) FILTER (WHERE whose = '{life.name}'), count(*), pg_is_in_recovery() FROM t"
        assert life.cluster.query(rows, port) == [(100, 102, False)]
        life.play("archive", login_port=port)


def standby_of(life: Life, data: str, port: int) -> dict[str, Any]:
    given = life.cluster.variables()
    return {
        "data_directory": data,
        "owner": life.cluster.owner,
        "primary_host": given["holdfast_login_host"],
        "primary_port": given["holdfast_login_port"],
        "primary_user": given["holdfast_login_user"],
        "primary_password": given["holdfast_login_password"],
        "login_port": port,
        "standby_settings": {"port": str(port)},
    }


@pytest.fixture(params=ENGINES)
def one_host(request: pytest.FixtureRequest) -> Iterator[list[Life]]:
    with ExitStack() as stack:
        host = stack.enter_context(Host("db1"))
        root, repository = shared_repository(stack)
        clusters = {name: Cluster(host, f"/srv/{name}/pg", 15) for name in ("alpha", "beta")}
        common = {"holdfast_repository": {"path": str(repository)}, "holdfast_engine": request.param}
        inventory = written_inventory(
            root / "hosts.json", {name: cluster.variables() for name, cluster in clusters.items()}, common
        )
        yield [
            Life(name, cluster, inventory, (name,), repository, (host,), request.param == "pgbackrest")
            for name, cluster in clusters.items()
        ]


def test_two_clusters_of_one_host(one_host: list[Life]) -> None:
    """They share the host's /etc/holdfast, /etc/cron.d, /var/spool and the user: what one team's plays write has its server's name."""
    # pgBackRest's configuration is of one directory: a standby beside its own primary does not go on with that one's archive.
    live(one_host, promoted=not one_host[0].engine_has_a_directory)


OTHER = "app"  # a user of the second host's, besides the one of the system


@pytest.mark.skipif("pgbackrest" not in ENGINES, reason="pgbackrest is not installed")
def test_two_owners_of_one_host() -> None:
    """Each has a server, and all that concerns it: what archives one is not the other's to write, nor is what root runs either's."""
    with ExitStack() as stack:
        host = stack.enter_context(Host("db1"))
        root, repository = shared_repository(stack)
        host.run("useradd", "--system", "--create-home", "--home-dir", f"/var/lib/{OTHER}", "--uid", "4711", OTHER)
        clusters = {
            "alpha": Cluster(host, "/srv/alpha/pg", 15),
            "beta": Cluster(host, "/srv/beta/pg", 15, owner=OTHER),
        }
        theirs = root / "beta"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 4711, -1)
        at = {"alpha": repository, "beta": theirs}
        inventory = written_inventory(
            root / "hosts.json",
            {
                name: {**cluster.variables(), "holdfast_repository": {"path": str(at[name])}}
                for name, cluster in clusters.items()
            },
            {"holdfast_engine": "pgbackrest"},
        )
        lives = [
            Life(name, cluster, inventory, (name, f"/{cluster.owner}/"), at[name], (host,))
            for name, cluster in clusters.items()
        ]
        for life in lives:
            life.cluster.query("CREATE TABLE t AS SELECT 1 AS n")
            life.play(
                "setup",
                setup_archiving=True,
                archive_restart=True,
                archive_restart_command=life.cluster.restart_command(),
            )
            life.play("schedule")
        for life in lives:
            life.play("backup", backup_max_age="1d")
            life.play("archive")
        # Nobody but root can put another in the place of what lies in these.
        directories = (
            "/etc/holdfast",
            "/etc/holdfast/servers",
            "/etc/holdfast/schedules",
            "/var/spool/holdfast",
            "/var/log/holdfast",
        )
        assert set(host.run("stat", "-c", "%U", *directories).stdout.split()) == {"root"}
        for life in lives:
            other = next(cluster.owner for cluster in clusters.values() if cluster is not life.cluster)
            path = f"/etc/holdfast/servers/{life.cluster.owner}/pgbackrest/{life.name}/pgbackrest.conf"
            for argv in (["cat", path], ["test", "-w", "/etc/holdfast"], ["touch", f"{path}.new"]):
                assert host.run(*argv, user=other, check=False).returncode, argv


@pytest.fixture
def two_hosts() -> Iterator[list[Life]]:
    """Each has the same short name, the same paths, and an inventory's name of its own."""
    with ExitStack() as stack:
        hosts = tuple(stack.enter_context(Host("db1")) for _number in range(2))
        root, repository = shared_repository(stack)
        names = ("db1.eu.example", "db1.us.example")
        clusters = [Cluster(host, "/srv/pg/data", 15) for host in hosts]
        common = {"holdfast_repository": {"path": str(repository)}}
        inventory = written_inventory(
            root / "hosts.json", {name: cluster.variables() for name, cluster in zip(names, clusters)}, common
        )
        yield [
            Life(name, cluster, inventory, (f"{number}:", f"/{name}/"), repository, hosts)
            for number, (name, cluster) in enumerate(zip(names, clusters))
        ]


def test_two_hosts_of_one_short_name(two_hosts: list[Life]) -> None:
    """They share one repository."""
    live(two_hosts)


def test_two_standbys_of_one_primary_from_hosts_of_one_short_name(two_hosts: list[Life]) -> None:
    """By defaults: their slots, by which the primary knows them, are not one. The archive of a host's own server is not its primary's."""
    first, second = two_hosts
    first.cluster.query("CREATE TABLE t AS SELECT 1 AS n")
    setup = {"setup_archiving": True, "archive_restart": True, "archive_backup": False}
    for life in two_hosts:
        life.play("setup", **setup, archive_restart_command=life.cluster.restart_command())

    def standby(life: Life, **more: Any) -> PlaybookResult:
        given = {**standby_of(first, "/srv/pg/standby", free_port()), **more}
        chosen = {f"holdfast_{name}": value for name, value in given.items()}
        return life.cluster.host.play("standby", chosen, life.inventory, life.name)

    refused = standby(second)  # server_name is the host's own by default
    said = " ".join(str(task.result.get("msg")) for task in refused.failed)
    assert refused.returncode and "holdfast_server_name" in said and "another server's" in said, refused.stdout
    for life in two_hosts:
        run = standby(life, server_name=first.name)
        assert run.returncode == 0, run.stdout
    slots = first.cluster.query("SELECT slot_name, active FROM pg_replication_slots")
    assert len(slots) == 2 and all(active and name.startswith("standby_db1_") for name, active in slots)
    assert second.cluster.query("SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_two_inventories_that_call_their_host_alike(two_hosts: list[Life]) -> None:
    """Two teams, each with a db1, and one repository: the second one's setup is refused before anything of it, or of the first, is touched."""
    first, second = two_hosts
    common = {"holdfast_repository": {"path": str(first.repository)}}
    lives = []
    for life, team in ((first, "one"), (second, "two")):
        inventory = written_inventory(
            first.inventory.with_name(f"{team}.json"), {"db1": life.cluster.variables()}, common
        )
        lives.append(Life("db1", life.cluster, inventory, (life.own[0], "/db1/"), life.repository, life.hosts))
    setup = {"setup_archiving": True, "archive_restart": True}
    lives[0].play("setup", **setup, archive_restart_command=first.cluster.restart_command())
    before = lives[0].looked()
    settings = second.cluster.query("SELECT name, setting FROM pg_settings WHERE name LIKE 'archive%'")
    variables = {f"holdfast_{key}": value for key, value in setup.items()}
    variables["holdfast_archive_restart_command"] = second.cluster.restart_command()
    for play in ("setup", "backup"):
        run = second.cluster.host.play(play, variables if play == "setup" else {}, lives[1].inventory, "db1")
        said = " ".join(str(task.result.get("msg")) for task in run.failed)
        assert run.returncode and "another server" in said, run.stdout
        changed = touched(before, lives[0].looked(), ())
        assert [path for path in changed if not BY_ITSELF.search(path)] == [], changed
    assert second.cluster.query("SELECT name, setting FROM pg_settings WHERE name LIKE 'archive%'") == settings
