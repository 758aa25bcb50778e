# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of dumps: a good one passes and leaves evidence and nothing else; what is wrong is told by the step and the file."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok, warned
from lab.harddata import HardData
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server
from lab.waiting import wait_until

PASSPHRASE = {"method": "aes256", "passphrase": "it's a secret"}
TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
INSERT INTO orders SELECT g FROM generate_series(1, 1000) g;
CREATE TABLE people (name text);
INSERT INTO people VALUES ('Ada'), ('Grace');
"""


@pytest.fixture(scope="module")
def shop(server_factory: Callable[..., Server]) -> Server:
    """A server of PostgreSQL 15 (which has amcheck here) with some rows."""
    server = server_factory(15)
    server.psql("CREATE DATABASE shop; CREATE ROLE clerk;")
    server.psql(TABLES + "GRANT SELECT ON orders TO clerk;", "shop")
    return server


class Site:
    """A repository with dumps of the server, and drills of them."""

    def __init__(self, server: Server, tmp_path: Path) -> None:
        self.server = server
        self.repository, self.scratch = tmp_path / "repository", server.server_directory("scratch")
        self.repository.mkdir()
        self.options: dict[str, Any] = {"repository": {"path": str(self.repository)}, "server_name": "shop"}

    def dump(self, **more: Any) -> str:
        given = {**self.server.client_options(), **self.options, "databases": ["shop"], **more}
        return str(ok(run_module("pg_backup", given))["backup"]["id"])

    @property
    def drilled(self) -> dict[str, Any]:
        return {
            **self.options,
            "bin_dir": str(self.server.bindir),
            "owner": self.server.owner,
            "scratch_dir": str(self.scratch),
            "low_priority": False,  # beside other tests it would get nothing
        }

    def drill(self, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("pg_drill", {**self.drilled, **more}, check=check)

    def evidence(self) -> list[Path]:
        return sorted((self.repository / "shop" / "_drills").glob("*.json"))

    def nothing_left(self) -> None:
        assert not list(self.scratch.iterdir())
        listed = subprocess.run(["ps", "-eo", "args"], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert str(self.scratch) not in listed


@pytest.fixture
def site(shop: Server, tmp_path: Path) -> Iterator[Site]:
    made = Site(shop, tmp_path)
    yield made


@pytest.fixture
def keyring() -> Iterator[Path]:
    """An empty keyring of gpg, whose agent's socket has a short path."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)
        subprocess.run(["gpgconf", "--homedir", path, "--kill", "all"], check=False, capture_output=True)


def test_a_dump_passes_and_leaves_evidence(site: Site, keyring: Path) -> None:
    """The kind: a drill that passes. Members: check mode before it, assertions of each operator, objectives, a signature, the page for people,
    max_age."""
    backup = site.dump(encryption=PASSPHRASE)
    secret: dict[str, Any] = {"encryption": PASSPHRASE}
    planned = ok(site.drill(check=True, **secret))
    assert planned["changed"] and backup in str(planned["plan"]) and "bytes" in str(planned["plan"])
    assert not (site.repository / "shop" / "_drills").exists()
    rows = "SELECT count(*) FROM orders"
    wanted: list[dict[str, Any]] = [
        {"name": "all orders", "sql": rows, "expect": 1000},
        {"name": "some orders", "sql": rows, "operator": ">", "expect": "99.5"},
        {"name": "recent", "sql": "SELECT max(at) FROM orders", "operator": ">", "expect": "2020-01-01T00:00:00Z"},
        {"name": "a clerk may read", "sql": "SELECT true FROM orders LIMIT 1", "role": "clerk"},
        {"name": "a name", "sql": "SELECT min(name) FROM people", "operator": "matches", "expect": "^A"},
    ]
    given: dict[str, Any] = {"assertions": [{"database": "shop", **one} for one in wanted], "rto": "1h", "rpo": "1h"}
    gpg = ["gpg", "--homedir", str(keyring), "--batch", "--quiet"]
    key = ["--passphrase", "", "--quick-generate-key", "drill@example.org", "ed25519", "sign", "never"]
    subprocess.run([*gpg, *key], check=True, capture_output=True)
    signed: dict[str, Any] = {"encryption": {**PASSPHRASE, "gpg_home": str(keyring)}, "sign_key": "drill@example.org"}
    done = ok(site.drill(**given, **signed))
    found = done["evidence"]
    assert (done["verdict"], found["reasons"]) == ("pass", []), found
    assert found["backup"]["id"] == backup and found["previous"] is None
    assert all(row["ok"] for row in [*found["checks"], *found["assertions"]])
    assert {"write", "rows", "pg_amcheck", "data checksums"} <= {row["name"] for row in found["checks"]}
    assert 0 < found["measured"]["rto_seconds"] < 3600 and 0 <= found["measured"]["rpo_seconds"] < 3600
    assert found["teardown"]["removed"]
    (path,) = site.evidence()
    assert json.loads(path.read_text()) == found
    signature = path.with_name(f"{path.name}.asc")
    subprocess.run([*gpg, "--verify", str(signature), str(path)], check=True, capture_output=True)
    page = path.with_suffix(".md").read_text()
    assert "Verdict: pass" in page and "Ada" not in page + path.read_text()
    site.nothing_left()
    again = site.drill(max_age="1h", **secret)
    assert not again.changed and "max_age" in warned(again)
    facts = ok(run_module("backup_facts", {**site.options, **secret}))["ansible_facts"]["holdfast_backups"]
    assert facts["backups"][0]["drilled_at"] and facts["backups"][0]["drill_verdict"] == "pass"


def test_assertions_that_do_not_hold(site: Site) -> None:
    """The kind: an assertion that says nothing good. Members: refuted (a table that was emptied before the backup), an error, no row, several rows,
    several columns, NULL, no query, no end, a role that is not there. All others are asked all the same."""
    site.dump()
    wanted = {
        "emptied": "SELECT count(*) > 5 FROM people",
        "an error": "SELECT 1/0",
        "no row": "SELECT 1 WHERE false",
        "several rows": "SELECT id FROM orders",
        "several columns": "SELECT 1, 2",
        "null": "SELECT NULL::int",
        "no query": "DO $$ BEGIN END $$",
        "no end": "SELECT pg_sleep(60)",
        "writes": "DELETE FROM people RETURNING name",
    }
    given = [{"name": name, "database": "shop", "sql": sql, "timeout": "1s"} for name, sql in wanted.items()]
    given.append({"name": "nobody", "database": "shop", "sql": "SELECT true", "role": "nobody_at_all"})
    given.append({"name": "nowhere", "database": "not_there", "sql": "SELECT true"})
    given.append({"name": "good", "database": "shop", "sql": "SELECT true"})
    done = site.drill(assertions=given, amcheck="none")
    assert done.failed and done.result["verdict"] == "fail"
    found = {row["name"]: row for row in done.result["evidence"]["assertions"]}
    assert [name for name, row in found.items() if row["ok"]] == ["good"]
    expected = {
        "an error": "22012",
        "no row": "no row",
        "several rows": "several rows",
        "several columns": "2 columns",
        "null": "NULL",
        "no query": "no query",
        "no end": "did not end within 1 seconds",
        "writes": "read-only",
        "nobody": "nobody_at_all",
        "nowhere": "not_there",
    }
    for name, part in expected.items():
        assert part in found[name]["detail"], found[name]
    assert "'emptied'" in done.msg and "found false" in done.msg and "_drills/" in done.msg
    site.nothing_left()


def test_damage_is_told_by_step_and_file(site: Site) -> None:
    """The kind: a backup that is not what was written, and evidence that is not. Members: one byte flipped, an object missing; the evidence of the one
    before changed. The evidence of the failure is kept; the next drill of a good one passes, chained to it."""
    good = site.dump()
    bad = site.dump()
    dump = next((site.repository / "shop" / bad / "databases").iterdir())
    whole = dump.read_bytes()
    for damaged in (whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:], None):
        if damaged is None:
            dump.unlink()
        else:
            dump.write_bytes(damaged)
        done = site.drill(select=bad, amcheck="none")
        assert done.failed and dump.name in done.msg and "'restore'" in done.msg, done.msg
        assert done.result["evidence"]["verdict"] == "fail" and "Traceback" not in done.stdout
    site.nothing_left()
    first, second = site.evidence()
    first.write_text(first.read_text().replace('"trigger": "manual"', '"trigger": "schedule"'))
    done = site.drill(select=good, amcheck="none")
    passed = ok(done)["evidence"]
    assert passed["verdict"] == "pass" and passed["previous"]["id"] == second.stem
    assert "was changed after it was written" in warned(done) and first.stem in warned(done)


def test_a_dump_that_was_cut_when_it_was_made(site: Site) -> None:
    """The kind: a backup that is what was written, and was no whole dump then: its sums hold. Found: a script that is cut was refused as an option
    would be, and left no evidence, so that the last drill was the good one before it."""
    for form, by in (("plain", 300), ("custom", 1)):
        folder = site.repository / "shop" / site.dump(format=form, compression="none")
        dump = next((folder / "databases").iterdir())
        dump.write_bytes(dump.read_bytes()[:-by])
        manifest = json.loads((folder / "manifest.json").read_text())
        for artifact in manifest["artifacts"]:
            data = (folder / artifact["key"]).read_bytes()
            artifact.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        (folder / "manifest.json").write_text(json.dumps(manifest))
        done = site.drill(amcheck="none")
        assert done.failed and "'restore'" in done.msg, done.msg
        assert [path.name.split(".")[1] for path in site.evidence()][-1:] == ["fail"]
        assert done.result["evidence"]["backup"]["sha256"]
    assert len(site.evidence()) == 2
    site.nothing_left()


def test_a_store_that_is_away(site: Site) -> None:
    """No repository takes the evidence: it is on this host, and the message says where."""
    site.dump()
    site.repository.rename(site.repository.with_name("away"))
    state = site.repository.parent / "state"
    done = site.drill(state_dir=str(state))
    assert done.failed and "'choose'" in done.msg and str(state) in done.msg
    assert json.loads(next(state.rglob("*.json")).read_text())["verdict"] == "fail"


@pytest.mark.parametrize(
    "step",
    ["making a server for the dump", pytest.param("looking at what was restored", marks=pytest.mark.extended)],
)
def test_killed_half_way(site: Site, step: str, tmp_path: Path, running: list[RunningModule]) -> None:
    """The kind: a drill that is killed outright, once and again. The next one ends the server that was left, and passes; no evidence is made up."""
    site.dump()
    slow = {
        "assertions": [{"name": "slow", "database": "shop", "sql": "SELECT pg_sleep(5) IS NOT NULL", "timeout": "1min"}]
    }
    for number in range(2):
        progress = tmp_path / f"progress{number}"
        module = start_module("pg_drill", {**site.drilled, **slow, "progress_file": str(progress)})
        running.append(module)
        wait_until(lambda progress=progress: progress.exists() and step in progress.read_text(), 120)
        module.kill()
    assert list(site.scratch.iterdir()) and not site.evidence()
    assert ok(site.drill(amcheck="none"))["verdict"] == "pass"
    site.nothing_left()


@pytest.mark.extended
def test_a_prune_leaves_what_is_being_drilled(site: Site, tmp_path: Path, running: list[RunningModule]) -> None:
    """Members: a prune by retention, and a deletion by name, while an index is built that takes seconds. Afterwards a prune takes it, and the
    evidence has its sum."""
    slow = "AS $$ BEGIN PERFORM pg_sleep(3); RETURN i; END $$"
    site.server.psql(f"CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql {slow}", "shop")
    site.server.psql("CREATE TABLE late AS SELECT 1 AS i; CREATE INDEX ON late (slow(i))", "shop")
    try:
        first, _second = site.dump(), site.dump()
    finally:
        site.server.psql("DROP TABLE late; DROP FUNCTION slow", "shop")
    progress = tmp_path / "progress"
    given = {**site.drilled, "select": first, "amcheck": "none", "progress_file": str(progress)}
    running.append(start_module("pg_drill", given))
    wait_until(lambda: progress.exists() and "restoring" in progress.read_text(), 120)
    deleted = run_module(
        "pg_backup", {**site.server.client_options(), **site.options, "backup_id": first, "state": "absent"}
    )
    assert deleted.failed and "drill" in deleted.msg, deleted.msg

    def prune() -> ModuleResult:
        return run_module("backup_prune", {**site.options, "retention": {"keep_last": 1}})

    assert not ok(during := prune())["pruned"] and "a drill" in warned(during), during.result
    done = running[-1].result()
    assert ok(done)["verdict"] == "pass" and done.result["evidence"]["backup"]["sha256"], done.msg
    assert [entry["id"] for entry in ok(prune())["pruned"]] == [first]


def test_refused_before_anything_is_made(site: Site) -> None:
    """The kind: what cannot be drilled. Members: a target that a dump cannot reach, a port that is taken, an id that is not there, a tier that has no
    such name, nothing to drill, too little space (with figures, in check mode too). None leaves anything; what says nothing of the backup
    leaves no evidence."""
    backup = site.dump()
    wrong: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"port": site.server.port}, ("port", "taken")),
        ({"tier": "tape"}, ("tier", "tape")),
        ({"target": {"tiem": "x"}}, ("target", "tiem")),
        ({"assertions": [{"name": "a", "database": "b", "sql": "c"}] * 2}, ("assertions", "two")),
        ({"sign_key": "nobody@nowhere"}, ("sign_key", "cannot sign")),
        ({"target": "random"}, ("target", "one moment")),
    ]
    for check, (options, parts) in itertools.product((True, False), wrong):
        done = site.drill(check, **options)
        assert done.failed and all(part in done.msg for part in parts), done.msg
    manifest = site.repository / "shop" / backup / "manifest.json"
    content = json.loads(manifest.read_text())
    content["databases"][0]["size"] = 10**15
    manifest.write_text(json.dumps(content))
    for check in (True, False):
        done = site.drill(check)
        assert done.failed and "not enough space" in done.msg and str(10**15 + 64 * 1024 * 1024) in done.msg, done.msg
    assert not site.evidence()
    for nothing in ({"select": "20200101T000000Z-none"}, {"server_name": "other"}):
        done = site.drill(False, **nothing)
        assert done.failed and "There is no backup" in done.msg, done.msg
    site.nothing_left()


@pytest.mark.extended
def test_data_that_is_hard(each_hard: HardData, tmp_path: Path) -> None:
    """All databases of a server with what is hard to restore, on each version: settings of databases, roles, tablespaces, extensions, names. Where
    this host has no amcheck for a version, that is all that is not shown."""
    site = Site(each_hard.server, tmp_path)
    secret: dict[str, Any] = {"encryption": PASSPHRASE}
    site.dump(databases=[], **secret)
    done = ok(site.drill(**secret))
    reasons = done["evidence"]["reasons"]
    assert done["verdict"] in ("pass", "partial") and len(reasons) == (done["verdict"] == "partial"), reasons
    assert all("amcheck" in reason for reason in reasons), reasons
    assert len([row for row in done["evidence"]["checks"] if row["name"] == "rows"]) == len(done["backup"]["databases"])
    site.nothing_left()
