# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore with other roles, and a backup to a public key."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.compare import compare, snapshot
from lab.harddata import HardData
from lab.playbooks import run_module
from lab.servers import Server
from psycopg2 import sql

Wipe = Callable[[object], Server]
DB = "shop"


def call(module: str, server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    arguments = {**server.client_options(), "repository": {"path": str(repository)}, **options}
    done = run_module(module, arguments)
    assert not done.failed, done.msg
    result: dict[str, Any] = done.result
    return result


def test_owners_and_grantees_are_exchanged_and_nothing_else(hard16: HardData, wiped: Wipe, tmp_path: Path) -> None:
    """The same database with its roles, and with each role exchanged: but for the names, they must be the same."""
    call("pg_backup", hard16.server, tmp_path, databases=[DB])
    target = wiped(16)
    moved = {name: str(target.server_directory(f"mapped {name}")) for name in hard16.tablespaces}
    call("pg_restore", target, tmp_path, databases=[DB], globals=True, tablespace_locations=moved)
    usual = snapshot(target, [DB])
    roles = {name: f"new {name}" for name in hard16.roles}
    for new in roles.values():
        target.query(sql.SQL("CREATE ROLE {}").format(sql.Identifier(new)))
    members = "SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members WHERE member >= 16384"
    for group, member in target.query(members):  # a materialised view is refreshed by what its owner may read
        new = sql.Identifier(roles.get(str(group), str(group))), sql.Identifier(roles[str(member)])
        target.query(sql.SQL("GRANT {} TO {}").format(*new))
    call("pg_restore", target, tmp_path, databases=[DB], target_db="mapped", role_map=roles)
    left = {str(name) for (name,) in target.query("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class", "mapped")}
    assert left <= {"postgres", *roles.values()}
    assert left & set(roles.values())
    # the roles under their former names again, and the two databases must not differ
    for old, new in roles.items():
        for before, after in ((old, f"former {old}"), (new, old)):
            target.query(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after)))
    differences = compare(usual, snapshot(target, ["mapped"]), {DB: "mapped"})
    # what names a role without belonging to it is not mapped
    others = ("setting", "polic", "USER MAPPING")
    assert [str(item) for item in differences if not any(word in item.what for word in others)] == []


def test_a_backup_to_a_public_key(hard16: HardData, wiped: Wipe, tmp_path: Path) -> None:
    # gpg's agent listens on a socket in its home, whose path must be short.
    home, repository, key = Path(tempfile.mkdtemp(prefix="gpg-")), tmp_path / "backups", tmp_path / "key.asc"
    repository.mkdir()
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback"]
    try:
        subprocess.run([*gpg, "--quick-generate-key", "dba@example.com"], check=True, capture_output=True)
        public = subprocess.run([*gpg, "--armor", "--export", "dba@example.com"], check=True, capture_output=True)
        key.write_bytes(public.stdout)
        made = call(
            "pg_backup",
            hard16.server,
            repository,
            databases=[DB],
            encryption={"method": "pgp", "recipients": [str(key)]},
        )
        stored = [path for path in repository.rglob("*") if path.is_file() and path.suffix not in (".json", ".txt")]
        assert all(path.suffix == ".gpg" for path in stored if path.name != ".guard")
        assert {artifact["key"].rsplit(".", 1)[-1] for artifact in made["backup"]["artifacts"]} == {"gpg"}
        target = wiped(16)
        moved = {name: str(target.server_directory(f"pgp {name}")) for name in hard16.tablespaces}
        options = {"databases": [DB], "globals": True, "tablespace_locations": moved}
        refused = run_module(
            "pg_restore",
            {**target.client_options(), "repository": {"path": str(repository)}, **options},
            env={"GNUPGHOME": str(tmp_path)},
        )
        assert refused.failed
        assert "passphrase or key" in refused.msg
        call("pg_restore", target, repository, encryption={"gpg_home": str(home)}, **options)
        assert compare(snapshot(hard16.server, [DB]), snapshot(target, [DB])) == []
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, env={**os.environ})
