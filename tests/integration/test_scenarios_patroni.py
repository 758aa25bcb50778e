# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni with three members, each on a host of its own, by the playbooks: from setup to a switchover, each play twice.

The kinds: one member set up, all promised; what Patroni does itself done behind its back; a slot beside it, which it drops.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab.namespaces import Host, below, possible, scheduled, touched
from lab.patroni import MISSING, PASSWORD, Member, cluster_of, wait_for
from lab.playbooks import PlaybookResult, collections_path
from lab.servers import free_port, system_user

WHY_NOT = possible() or (f"{', '.join(MISSING)} not installed" if MISSING else None)
pytestmark = [pytest.mark.extended, pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))]


def variables(member: Member) -> dict[str, Any]:
    login = {f"holdfast_{name}": value for name, value in member.login().items()}
    return {**login, "holdfast_patroni": member.rest_options, "holdfast_data_directory": str(member.data)}


class Team:
    """The members' hosts, and the plays of who looks after them."""

    def __init__(self, members: list[Member], beside: Host, root: Path) -> None:
        self.members, self.root, self.hosts = (
            members,
            root,
            [*(member.host for member in members if member.host), beside],
        )
        self.repository = root / "repository"
        self.repository.mkdir(mode=0o700)
        os.chown(self.repository, system_user().pw_uid, system_user().pw_gid)
        shared = {
            "holdfast_schedule_ansible_playbook": str(Path(sys.executable).parent / "ansible-playbook"),
            "holdfast_schedule_collections_path": str(collections_path()),
            "holdfast_repository": {"path": str(self.repository)},
            "holdfast_server_name": "lab",
            "holdfast_engine": "pg_basebackup",
        }
        shared["holdfast_schedule_variables"] = scheduled({**shared, **variables(members[0])})
        self.inventory = root / "hosts.json"
        hosts = {**{member.name: variables(member) for member in members}, "beside": {}}
        self.inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))

    def looked(self, number: int) -> dict[str, str]:
        """What all hosts but this one have, and the configuration that Patroni keeps for all."""
        found = {
            f"{other}:{path}": value
            for other, host in enumerate(self.hosts) if other != number
            for path, value in host.written().items() if not path.startswith("/srv/pg/data")
        }  # fmt: skip
        return {**found, "configuration": json.dumps(self.members[0].says("config"), sort_keys=True)}

    def run(self, number: int, name: str, **given: Any) -> PlaybookResult:
        limit = self.members[number].name if number < len(self.members) else "beside"
        chosen = {f"holdfast_{key}": value for key, value in given.items()}
        return self.hosts[number].play(name, chosen, self.inventory, limit)

    def play(self, number: int, name: str, changes_patroni: bool = False, **given: Any) -> PlaybookResult:
        """Twice: the second changes nothing; the other hosts are as they were."""
        before = self.looked(number)
        first = self.run(number, name, **given)
        assert first.returncode == 0, first.stdout
        after = self.looked(number)
        assert touched(before, after, ("configuration",) if changes_patroni else ()) == []
        again = self.run(number, name, **given)
        assert again.returncode == 0 and not again.changed, again.stdout
        assert self.looked(number) == after
        return first

    def refused(self, number: int, name: str, **given: Any) -> str:
        """Twice, and nothing is touched anywhere."""
        before, kept = self.looked(number), below(self.repository)
        said = ""
        for _again in range(2):
            run = self.run(number, name, **given)
            assert run.returncode and not run.changed, run.stdout
            said = " ".join(str(task.result.get("msg")) for task in run.failed)
        assert self.looked(number) == before and below(self.repository) == kept
        return said


def leads(member: Member) -> bool:
    return member.query("SELECT pg_is_in_recovery()") == [(False,)] and member.says("health")["role"] in (
        "master",
        "primary",
    )


def test_three_members(tmp_path: Path) -> None:
    with ExitStack() as stack:
        hosts = [stack.enter_context(Host(name)) for name in ("db1", "db2", "db3", "reports")]
        members = stack.enter_context(cluster_of(("one", "two", "three"), hosts[:3]))
        team = Team(members, hosts[3], members[0].root)
        leader, replica = members[0], members[1]
        leader.query("CREATE TABLE precious AS SELECT generate_series(1, 100) AS n")

        # Setup: through Patroni's configuration; it restarts its members.
        team.play(0, "setup", changes_patroni=True, setup_archiving=True)
        leader.control("restart", "lab", "--force")
        for member in members:
            wait_for(
                lambda member=member: member.query("SHOW archive_mode") == [("on",)], f"{member.name} does not archive"
            )
        wait_for(lambda: leads(leader), "no leader")
        wait_for(lambda: "pending_restart" not in str(leader.says("cluster")), "a restart is still pending")
        for number in range(3):
            team.play(number, "setup", setup_archiving=True)
        for number in range(3):
            team.play(number, "schedule")
        team.play(0, "backup", backup_max_age="1d")
        for number in range(3):
            team.play(number, "archive")

        # What Patroni does itself is left to it.
        upstream = {
            "primary_host": "127.0.0.1",
            "primary_port": leader.port,
            "primary_user": "postgres",
            "primary_password": PASSWORD,
        }
        agreed = {"standby_force": True, "standby_confirm": [str(replica.data)], "standby_stop_server": True}
        assert "patronictl reinit" in team.refused(1, "standby", **upstream, **agreed)
        assert "patronictl switchover" in team.refused(1, "promote")

        # A standby beside it has no slot that Patroni would drop.
        port = free_port()
        beside = {**upstream, "data_directory": "/srv/pg/data", "owner": system_user().pw_name, "bin_dir": str(leader.bindir),
                  "login_port": port, "standby_settings": {"port": str(port), "unix_socket_directories": "/tmp"}}  # fmt: skip
        assert "patronictl edit-config" in team.refused(3, "standby", **beside, standby_slot_name="reports")
        leader.control("edit-config", "lab", "--force", "-s", "slots.reports.type=physical")
        named = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'reports'"
        wait_for(lambda: leader.query(named) == [(1,)], "Patroni does not make the slot")
        team.play(3, "standby", **beside, standby_slot_name="reports")
        assert leader.query("SELECT active FROM pg_replication_slots WHERE slot_name = 'reports'") == [(True,)]

        # Back to a moment: paused, on the leader, and the replicas made anew.
        leader.query("INSERT INTO precious VALUES (101)")
        assert team.run(0, "restore_point", restore_point_name="before").returncode == 0
        leader.query("DROP TABLE precious")
        recover = {"recovery_target": {"name": "before"}, "recover_force": True, "recover_confirm": [str(leader.data)],
                   "recover_stop_server": True, "recover_keep_archiving": True}  # fmt: skip
        assert "patronictl pause" in team.refused(0, "recover", **recover)
        leader.control("pause", "lab", "--wait")
        wait_for(lambda: "pause" in str(leader.says("patroni")), "the pause is not seen")
        team.play(0, "recover", **recover)
        assert leader.query("SELECT count(*), max(n) FROM precious") == [(101, 101)]
        wait_for(lambda: leader.says("leader")["state"] == "running", "Patroni does not see the recovered server")
        for member in members[1:]:
            leader.control("reinit", "lab", member.name, "--force", "--wait")
        leader.control("resume", "lab", "--wait")
        for member in members[1:]:
            wait_for(lambda member=member: member.query("SELECT max(n) FROM precious") == [(101,)], "no replica")
        team.play(0, "setup", setup_archiving=True)

        # The new leader archives as the old one did.
        leader.control("switchover", "lab", "--leader", "one", "--candidate", "two", "--force")
        wait_for(lambda: leads(replica), "no switchover")
        team.play(1, "archive")
        team.play(1, "backup", backup_max_age="1d")
