# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup is meant, and whether there is one already, against real servers.

Kinds: "latest" looks at time alone (a part is newer than the whole; a clock was ahead); shortcuts that answer before the checks (an id
used again for something else, max_age on a new cluster under an old name, in another order, after the server was set back); a chain as
single pieces (an incremental upon what is gone, a copy without its full backup); a prune that takes what is being restored."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.answers import ok
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server


@pytest.fixture(scope="module")
def shop(server_factory: Callable[..., Server]) -> Server:
    server = server_factory(16)
    server.psql("CREATE DATABASE shop; CREATE DATABASE hr;")
    server.psql(
        "CREATE TABLE orders AS SELECT generate_series(1, 80) AS n; CREATE TABLE people AS SELECT 1 AS n", "shop"
    )
    return server


def given(server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    chosen = {"compression": "gzip", "compression_level": 1}
    login = {**server.client_options()}
    return {**login, "repository": {"path": str(repository)}, **chosen, **options}


def back_up(server: Server, repository: Path, **options: Any) -> ModuleResult:
    return run_module("pg_backup", given(server, repository, **options))


def made(server: Server, repository: Path, **options: Any) -> str:
    done = back_up(server, repository, **options)
    assert done.changed and not done.failed, done.msg
    return str(done.result["backup"]["id"])


def restore(server: Server, repository: Path, **options: Any) -> ModuleResult:
    login = {**server.client_options()}
    return run_module("pg_restore", {**login, "repository": {"path": str(repository)}, "target_db": "there", **options})


def warned(done: ModuleResult) -> str:
    return " ".join(str(warning) for warning in done.result.get("warnings", []))


def folder(repository: Path, backup_id: str) -> Path:
    return repository / "main" / backup_id


def rewrite(repository: Path, backup_id: str, **changes: Any) -> None:
    path = folder(repository, backup_id) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_latest_is_the_newest_that_has_what_is_asked_for(shop: Server, repository: Path) -> None:
    night = made(shop, repository)
    part = made(shop, repository, databases=["shop"], tables=["orders"])
    done = restore(shop, repository, databases=["shop"])
    assert not done.failed, done.msg
    assert done.result["backup"]["id"] == night
    assert shop.query("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM people)", "there") == [(80, 1)]
    assert part in warned(done) and "only the tables orders" in warned(done)
    shop.psql("DROP DATABASE there")
    # A clock that was ahead when the older one was made makes it no newer.
    second = made(shop, repository)
    rewrite(repository, night, started_at="2999-01-01T00:00:00Z", stopped_at="2999-01-01T00:00:00Z")
    done = restore(shop, repository, databases=["shop"])
    assert not done.failed, done.msg
    assert done.result["backup"]["id"] == second
    shop.psql("DROP DATABASE there")
    # What lost an artifact is passed over, and named.
    for path in folder(repository, second).rglob("*shop*"):
        path.unlink()
    done = restore(shop, repository, databases=["shop"])
    assert done.result["backup"]["id"] == night
    assert second in warned(done)
    shop.psql("DROP DATABASE there")
    none = restore(shop, repository, databases=["nobody"])
    assert none.failed and "nobody" in none.msg and "hr" in none.msg


def test_a_server_name_that_is_not_there(shop: Server, repository: Path) -> None:
    made(shop, repository, server_name="shop1", databases=["postgres"])
    done = restore(shop, repository, server_name="shop-1", databases=["postgres"])
    assert done.failed and "shop1" in done.msg and "server_name" in done.msg


def test_an_id_is_taken_once(shop: Server, pg18: Server, repository: Path) -> None:
    made(shop, repository, backup_id="before", databases=["shop"])
    assert not ok(back_up(shop, repository, backup_id="before", databases=["shop"]))["changed"]
    for server, options, words in (
        (shop, {"databases": ["hr"]}, "shop"),
        (shop, {"databases": ["shop"], "tables": ["orders"]}, "shop"),
        (
            shop,
            {"databases": ["shop"], "encryption": {"method": "aes256", "passphrase": "long enough"}},
            "encryption: none",
        ),
        (pg18, {"databases": ["shop"]}, "another server"),
    ):
        done = back_up(server, repository, backup_id="before", **options)
        assert done.failed and not done.changed
        assert "before" in done.msg and words in done.msg and "backup_id" in done.msg
    rewrite(repository, "before", stopped_at="2026-01-01T00:00:00Z")
    old = back_up(shop, repository, backup_id="before", databases=["shop"])
    assert not old.changed and " old (2026-01-01" in warned(old)
    next(folder(repository, "before").rglob("shop*")).write_bytes(b"")
    assert "damaged" in back_up(shop, repository, backup_id="before", databases=["shop"]).msg


def test_what_is_fresh_enough(shop: Server, pg18: Server, repository: Path) -> None:
    first = made(shop, repository, databases=["shop", "hr"], max_age="1h")
    again = back_up(shop, repository, databases=["hr", "shop"], max_age="1h")
    assert not again.changed and again.result["backup"]["id"] == first
    assert made(shop, repository, databases=["shop"], max_age="1h") != first
    # Encrypted is another matter.
    secret = {"method": "aes256", "passphrase": "long enough"}
    assert made(shop, repository, databases=["hr", "shop"], max_age="1h", encryption=secret) != first
    # A new cluster under an old name has no backup at all.
    other = back_up(pg18, repository, databases=["postgres"], max_age="1h")
    assert other.failed and "another server" in other.msg
    # The server was set back behind it: a snapshot of its machine was brought back.
    written = json.loads((folder(repository, first) / "manifest.json").read_text())
    rewrite(repository, first, stop_lsn="FF/0")
    back = back_up(shop, repository, databases=["shop", "hr"], max_age="1h")
    assert back.changed and "set back" in warned(back)
    rewrite(repository, first, server={**written["server"], "timeline": 7}, stop_lsn=written["stop_lsn"])
    shutil.rmtree(folder(repository, back.result["backup"]["id"]))
    left = back_up(shop, repository, databases=["shop", "hr"], max_age="1h")
    assert left.changed and "timeline 7" in warned(left)
    # It lost an artifact.
    next(folder(repository, left.result["backup"]["id"]).rglob("globals*")).unlink()
    shutil.rmtree(folder(repository, first))
    lost = back_up(shop, repository, databases=["shop", "hr"], max_age="1h", retention={"keep_last": 1})
    assert lost.changed and "globals" in warned(lost)


def test_a_chain_is_one_thing(server_factory: Callable[..., Server], repository: Path, tmp_path: Path) -> None:
    server = server_factory(18)
    server.psql("ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf()")
    physical = {"engine": "pg_basebackup"}
    full = made(server, repository, **physical)
    server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; CHECKPOINT")
    link = back_up(server, repository, **physical, kind="incremental").result["backup"]
    assert (link["kind"], link["parent"]) == ("incremental", full)
    # A copy of the newest brings what it is based on.
    target = tmp_path / "target"
    target.mkdir()
    done = run_module(
        "backup_copy", {"source": {"path": str(repository)}, "target": {"path": str(target)}, "backup_ids": ["latest"]}
    )
    assert not done.failed, done.msg
    assert done.result["copied"] == [full, link["id"]]
    # Moved alone, the full one stays for the one that needs it.
    third = tmp_path / "third"
    third.mkdir()
    move = {
        "source": {"path": str(repository)},
        "target": {"path": str(third)},
        "backup_ids": [full],
        "delete_source": True,
    }
    moved = run_module("backup_copy", move)
    assert not moved.failed, moved.msg
    assert folder(repository, full).exists() and "based on" in warned(moved)
    # Nothing is made upon what is gone: another full one, or an error; never a link that cannot be restored.
    os.unlink(next(folder(repository, full).glob("base.tar*")))
    broken = back_up(server, repository, **physical, kind="incremental", max_age="1h")
    assert not broken.failed, broken.msg
    assert broken.changed and broken.result["backup"]["kind"] == "full"
    orphan = run_module(
        "backup_copy",
        {
            "source": {"path": str(target)},
            "target": {"path": str(third)},
            "backup_ids": [link["id"]],
            "server_name": "main",
        },
    )
    assert not orphan.failed, orphan.msg
    shutil.rmtree(folder(target, full))
    fourth = tmp_path / "fourth"
    fourth.mkdir()
    alone = run_module(
        "backup_copy", {"source": {"path": str(target)}, "target": {"path": str(fourth)}, "backup_ids": [link["id"]]}
    )
    assert alone.failed and full in alone.msg


def test_what_is_being_restored_is_not_deleted(shop: Server, repository: Path) -> None:
    old = made(shop, repository, databases=["shop"])
    new = made(shop, repository, databases=["shop"])
    shelf = Shelf(FileRepository(str(repository)), "main")
    with Reading(shelf, [old], "a restore", []):
        prune = {"repository": {"path": str(repository)}, "retention": {"keep_last": 1}}
        done = run_module("backup_prune", prune)
        assert not done.failed, done.msg
        assert folder(repository, old).exists() and "being read by a restore" in warned(done)
        absent = run_module("pg_backup", {"repository": {"path": str(repository)}, "backup_id": old, "state": "absent"})
        assert absent.failed and "being read" in absent.msg
    done = run_module("backup_prune", prune)
    assert not folder(repository, old).exists() and folder(repository, new).exists()
    assert list((repository / "main" / "_readers").iterdir()) == []


def test_an_empty_place_is_not_a_new_repository(shop: Server, repository: Path, tmp_path: Path) -> None:
    """Kind: an empty place taken for a new one. Members: not mounted; another directory in its place; its content on another disk;
    meant so; deleted by retention but for others; a second server in the same repository."""
    state = {"state_dir": str(tmp_path / "state"), "databases": ["shop"]}
    first = made(shop, repository, **state)
    repository.rename(tmp_path / "away")
    repository.mkdir()
    done = back_up(shop, repository, **state, max_age="1h")
    assert done.failed and first in done.msg and "accept_new_repository" in done.msg
    assert list(repository.iterdir()) == []
    planned = run_module("pg_backup", given(shop, repository, **state), check=True)
    assert not planned.failed and planned.result["consent"] == {"accept_new_repository": True}, planned.msg
    assert planned.result["plan"][-1] == "do all this only when it is agreed to: accept_new_repository: true"
    assert list(repository.iterdir()) == []
    # Another server's backups there are another matter.
    made(shop, repository, **state, server_name="other")
    # It is there again, or moved with all that it has: nothing to say but that.
    shutil.rmtree(repository)
    shutil.copytree(tmp_path / "away", repository)
    assert not ok(back_up(shop, repository, **state, max_age="1h"))["changed"]
    # All backups deleted by somebody, the repository itself as it was.
    shutil.rmtree(folder(repository, first))
    second = made(shop, repository, **state)
    # A new one is meant.
    shutil.rmtree(repository)
    repository.mkdir()
    assert back_up(shop, repository, **state).failed
    third = made(shop, repository, **state, accept_new_repository=True)
    assert len({first, second, third}) == 3
    made(shop, repository, **state)
