# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving that has ended in silence is said by whoever comes to the server or its archive.

The kind: one thing is proven, and another one stops. Members: an empty command, archive_mode off, a restart that never came, by a superuser and by a role
that may not see the settings; said by a logical backup, the audit and the facts, each of which was green before (CASES 1.15, 1.48). Not said: of a clone, nor
where archiving was taken down.
Found: a role that may not see data_directory or the configuration files had every look at the server fail; after `state: absent` it was said for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server


@pytest.mark.extended
def test_who_comes_says_that_nothing_is_archived(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15, settings=SETTINGS, initdb=("--wal-segsize=1",))
    server.psql("CREATE TABLE kept AS SELECT 1 AS n")  # nothing but empty databases is no backup
    archived = Archived.of(server)
    logical = {**server.login(), **archived.options, "engine": "pg_dump", "databases": ["postgres"]}
    facts = {**server.login(), **archived.options, "archiving": True}
    audit = {"repository": archived.options["repository"]}

    def said() -> list[str]:
        """By a logical backup, the facts and the audit: what each says of it."""
        backup: dict[str, Any] = ok(run_module("pg_backup", logical, check=True))
        told = ok(run_module("backup_facts", facts))["ansible_facts"]["holdfast_backups"]["problems"]
        audited = ok(run_module("wal_audit", audit, check=True)).get("warnings", [])
        return [
            str(text)
            for texts in (backup.get("warnings", []), told, audited)
            for text in texts
            if "archives nothing" in str(text) or "nothing comes here" in str(text)
        ]

    assert not said()
    server.psql("ALTER SYSTEM SET archive_command = ''")
    server.psql("SELECT pg_reload_conf()")
    assert len(said()) == 2  # the configuration alone does not show an empty command to the audit
    server.psql("ALTER SYSTEM RESET archive_command; ALTER SYSTEM SET archive_mode = off")
    server.restart()
    three = said()
    assert len(three) == 3 and "wal_archive" in str(three)
    server.psql(f"CREATE ROLE reader LOGIN PASSWORD '{server.password}'")
    seen = ok(run_module("backup_facts", {**facts, "login_user": "reader"}))["ansible_facts"]["holdfast_backups"]
    assert "archives nothing" in str(seen["problems"])
    with Restored(server, "clone") as new:
        ok(archived.recover(new, {"immediate": True}))
        cloned = {**logical, "login_port": new.port}
        assert "archives nothing" not in str(ok(run_module("pg_backup", cloned, check=True)).get("warnings"))
    server.psql("ALTER SYSTEM SET archive_mode = on")
    assert any("until the server is restarted" in text for text in said())
    ok(run_module("wal_archive", {**server.login(), **archived.options}))
    server.restart()
    assert not said()
    # Taken down on purpose is no fault; set up again, it is watched again.
    for changed in (True, True, False):
        assert (
            ok(run_module("wal_archive", {**server.login(), **archived.options, "state": "absent"}))["changed"]
            is changed
        )
        server.restart()
    assert server.query("SHOW archive_command") == [("",)] and not said()
    ok(run_module("wal_archive", {**server.login(), **archived.options}))
    server.psql("ALTER SYSTEM SET archive_command = ''")
    server.psql("SELECT pg_reload_conf()")
    assert len(said()) == 2
