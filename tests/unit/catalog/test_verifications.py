# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a backup that was good when it was made. Members: read back since, failed since, failed and good again at each level; an id used again; marks that
are damaged, written by two at once, too many; retention, latest, freshness, copies; the manifest stays as it was."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy import CopyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import plan_prune
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import damage
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import (
    LEVELS,
    OBJECT,
    Mark,
    Marks,
    bad,
    change,
    forgotten,
    good,
    read,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)
THEN = "2026-01-01T00:00:00Z"
LATER = "2026-02-01T00:00:00Z"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(FileRepository(str(tmp_path)), "main")


def ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


def mark_bad(shelf: Shelf, record: Record, level: str = "checksum", text: str = "base.tar differs") -> None:
    change(shelf.repository, shelf.name, {record.id: lambda mark: bad(mark, record, level, LATER, text)})


def mark_good(shelf: Shelf, record: Record, level: str) -> None:
    change(shelf.repository, shelf.name, {record.id: lambda mark: good(mark, record, level, LATER)})


@pytest.mark.parametrize("failed", LEVELS)
@pytest.mark.parametrize("passed", LEVELS)
def test_a_mark_goes_where_it_was_looked_at_as_closely(shelf: Shelf, failed: str, passed: str) -> None:
    record = lay(shelf, "b1", ago(1))
    marked = good(bad(None, record, failed, THEN, "no"), record, passed, LATER)
    assert (marked.failure is None) is (LEVELS.index(passed) >= LEVELS.index(failed))
    assert marked.proofs == {passed: LATER}


def test_what_was_proven_before_a_failure_holds_below_it_alone(shelf: Shelf) -> None:
    record = lay(shelf, "b1", ago(1))
    mark = None
    for level in LEVELS:
        mark = good(mark, record, level, THEN)
    assert set(bad(mark, record, "content", LATER, "no").proofs) == {"presence", "checksum"}
    assert not bad(mark, record, "presence", LATER, "no").proofs


def test_when_it_was_read_back_is_beside_the_manifest(shelf: Shelf, tmp_path: Path) -> None:
    record = lay(shelf, "b1", ago(400))
    manifest = tmp_path / "main/b1/manifest.json"
    before = manifest.read_bytes()
    made = record.verified_at
    mark_good(shelf, record, "presence")
    assert next(shelf.records([])).verified_at == made  # nothing of it was read
    mark_good(shelf, record, "content")
    assert next(shelf.records([])).verified_at == LATER
    assert shelf.marks().proven_at(record, "checksum") == LATER
    assert shelf.marks().proven_at(record, "engine") is None
    mark_bad(shelf, record)
    failed: dict[str, str] = {}
    assert next(shelf.records([], failed=failed)).verified_at is None and "base.tar differs" in failed["b1"]
    assert manifest.read_bytes() == before
    assert shelf.get("b1").verified_at == made  # who writes the manifest anew writes what was in it


def test_another_backup_of_its_id_has_no_mark(shelf: Shelf) -> None:
    record = lay(shelf, "b1", ago(3))
    mark_bad(shelf, record)
    assert damage(Shelf(shelf.repository, "main"), record)
    shelf.remove("b1")
    again = lay(shelf, "b1", ago(1), data=b"others")
    assert damage(Shelf(shelf.repository, "main"), again) is None
    assert next(shelf.records([])).verified_at == again.verified_at


def test_retention_counts_a_failed_one_as_none(shelf: Shelf) -> None:
    records = [lay(shelf, f"b{number}", ago(10 - number), lsn=f"0/{number}0") for number in (1, 2, 3)]
    policy = Policy.from_option({"keep_last": 1})
    assert {item.id for item in plan_prune(look(shelf), policy, []) if item.keep} == {"b3"}
    mark_bad(shelf, records[2], text="it was cut off")
    warnings: list[str] = []
    kept = {item.id: item.reasons for item in plan_prune(look(shelf), policy, warnings) if item.keep}
    assert set(kept) == {"b2", "b3"}
    assert "it was cut off" in " ".join(warnings) and "displaces no other one" in " ".join(warnings)
    mark_good(shelf, records[2], "content")
    assert {item.id for item in plan_prune(look(shelf), policy, []) if item.keep} == {"b3"}


def test_a_failed_one_is_not_copied(tmp_path: Path) -> None:
    shelves = [Shelf(FileRepository(str(tmp_path / name)), "main") for name in ("from", "to")]
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    source, target = shelves
    records = [lay(source, f"b{number}", ago(10 - number), lsn=f"0/{number}0") for number in (1, 2)]
    mark_bad(source, records[0])
    moved = CopyRun(source, target, [], 2, 64 * 1024 * 1024, True, 0).run(False)
    assert moved.names == ["b2"] and "b1 was not copied" in " ".join(moved.warnings)
    assert [record.id for record in source.records([])] == ["b1"]
    with pytest.raises(CatalogError, match="b1 is not copied"):
        CopyRun(source, target, ["b1"], 2, 64 * 1024 * 1024, False, 0).run(False)


def test_marks_that_cannot_be_read_are_told_of_and_written_anew(shelf: Shelf, tmp_path: Path) -> None:
    record = lay(shelf, "b1", ago(1))
    mark_bad(shelf, record)
    object_ = tmp_path / "main" / OBJECT
    whole = json.loads(object_.read_text())
    strange = {
        "cut": object_.read_text()[:40], "empty": "", "a list": "[]", "newer": json.dumps({**whole, "format": 2}), "no rows": '{"format": 1}',
        "no time": object_.read_text().replace(LATER, "soon"), "no level": object_.read_text().replace('"checksum"', '"soul"'),
    }  # fmt: skip
    for kind, text in strange.items():
        object_.write_text(text)
        problems: list[str] = []
        assert next(shelf.records(problems)).verified_at == record.verified_at, kind
        assert "nobody knows what verifying found" in " ".join(problems), kind
        mark_bad(shelf, record)
        assert next(shelf.records([])).verified_at is None, kind


def test_two_who_write_at_once_lose_nothing(shelf: Shelf) -> None:
    one, two = lay(shelf, "b1", ago(2)), lay(shelf, "b2", ago(1))

    def meanwhile(mark: Mark | None) -> Mark:
        if "b2" not in read(shelf.repository, "main").known:
            mark_bad(shelf, two)
        return good(mark, one, "content", LATER)

    change(shelf.repository, "main", {"b1": meanwhile})
    marks = read(shelf.repository, "main")
    assert set(marks.known) == {"b1", "b2"} and marks.failure(two)


def test_marks_of_what_is_gone_are_forgotten(shelf: Shelf) -> None:
    one, two = lay(shelf, "b1", ago(2)), lay(shelf, "b2", ago(1))
    theirs = replace(two, id="20260101-000000F", engine="pgbackrest")
    for record in (one, two, theirs):
        mark_bad(shelf, record)
    change(shelf.repository, "main", {}, forgotten(["b2"], ["pg_dump", "pg_basebackup"]))
    assert set(read(shelf.repository, "main").known) == {"b2", theirs.id}


def test_many_marks_take_no_time(shelf: Shelf) -> None:
    record = lay(shelf, "b1", ago(1))
    many = {
        f"n{number:05}": good(None, replace(record, id=f"n{number:05}"), "content", THEN) for number in range(10_000)
    }
    change(shelf.repository, "main", {name: lambda _mark, made=made: made for name, made in many.items()})  # type: ignore[misc]
    assert isinstance(read(shelf.repository, "main"), Marks) and len(read(shelf.repository, "main").known) == 10_000
