# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill decides without a server: which backup and tier, what a marker and an assertion say, and the verdict."""

from __future__ import annotations

import datetime
import random
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import Drill
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.assertions import OPERATORS, Assertion, shown
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.checks import library_is_there
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.choosing import choose, moment, newest, next_tier
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Check, Findings, missed, verdict
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.marker import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import target_of
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 11, 26, 12, tzinfo=UTC)


def backup(name: str, hours: int) -> Record:
    at = f"2026-11-26T{hours:02}:00:00Z"
    values: dict[str, Any] = {
        "id": name, "engine": "pg_dump", "kind": "logical", "engine_version": "16", "started_at": at, "stopped_at": at,
        "server": {"name": "main"}, "start_lsn": None, "stop_lsn": None, "scope": {}, "consistency": {}, "databases": [], "compression": {},
        "encryption": {}, "artifacts": [], "created_by": "", "verified_at": at,
    }  # fmt: skip
    return Record(**values)


def drill(number: int, name: str, at: str = "2026-11-20T00:00:00Z", verdict: str = "pass") -> Drill:
    return Drill(f"{number}", number, at, verdict, name)


def test_which_backup() -> None:
    order = [backup(name, hour) for hour, name in enumerate("abc", 1)]
    chance = random.Random(1)
    assert choose(order[::-1], "latest", {}, chance, "x")[0].id == "c"
    assert choose(order, "b", {}, chance, "x")[0].id == "b"
    assert {choose(order, "random", {}, chance, "x")[0].id for _try in range(50)} == {"a", "b", "c"}
    assert choose(order, "oldest_unproven", {"a": drill(1, "a")}, chance, "x")[0].id == "b"
    proven = {"a": drill(9, "a"), "b": drill(7, "b"), "c": drill(8, "c")}
    assert choose(order, "oldest_unproven", proven, chance, "x")[0].id == "b"
    for records, select in (([], "latest"), (order, "z")):
        with pytest.raises(CatalogError):
            choose(records, select, {}, chance, "x")


def test_tiers_in_their_turn() -> None:
    """One that was never drilled comes first; then the one whose last drill, good or bad, is the longest ago."""
    last: dict[str, Optional[Drill]] = {"disk": drill(5, "a", "2026-11-25T00:00:00Z"), "s3": None}
    assert next_tier(["disk", "s3"], last) == "s3"
    last["s3"] = drill(1, "a", "2026-11-26T00:00:00Z", "fail")
    assert next_tier(["disk", "s3"], last) == "disk"
    assert next_tier(["disk", "s3"], {}) == "disk"


def test_when_another_drill_is_due() -> None:
    passed, failed = drill(1, "a", "2026-11-26T10:00:00Z"), drill(2, "a", "2026-11-26T11:00:00Z", "fail")
    assert newest({"disk": [passed]}, NOON, 7200) == ("disk", passed)
    assert newest({"disk": [passed]}, NOON, 7199) is None
    assert newest({"disk": [passed, failed]}, NOON, 7200) is None
    assert newest({"disk": [passed], "s3": [failed]}, NOON, 7200) is None
    assert newest({"disk": [drill(1, "a", "2026-11-26T12:00:01Z")]}, NOON, 7200) is None
    assert newest({"disk": []}, NOON, 7200) is None
    # A clock that was set back: the one that failed came later.
    earlier = drill(2, "a", "2026-11-26T09:30:00Z", "fail")
    assert newest({"disk": [passed, earlier]}, NOON, 7200) is None


def test_a_moment_by_chance_lies_between() -> None:
    end = NOON + datetime.timedelta(seconds=1)
    found = {moment(NOON, end, random.Random(seed)) for seed in range(100)}
    assert len(found) > 90 and all(NOON <= one <= end for one in found)
    assert moment(NOON, NOON, random.Random(1)) == NOON


@pytest.mark.parametrize(
    ("found", "operator", "expected", "holds"),
    [
        (5, "==", 5, True), (5, "==", "5.0", True), ("5", ">", 4, True), (10, ">", 9, True), ("10", ">", "9", True), ("b", ">", "a", True),
        (True, "==", True, True), (True, "==", "true", True), (False, "==", True, False), ("t", "==", True, False), ("Ada", "matches", "^A", True),
        (NOON, "<", "2026-11-26T14:00:00+01:00", True), (NOON, "==", "2026-11-26T13:00:00+01:00", True), (5, "!=", 6, True), (5, "<=", 5, True),
        (float("nan"), "==", 5, False), ("x", "<", 5, False),
    ],
)  # fmt: skip
def test_comparisons(found: Any, operator: str, expected: Any, holds: bool) -> None:
    assert OPERATORS[operator](found, expected) is holds


def test_an_assertion_has_no_statement_in_the_evidence() -> None:
    made = Assertion.from_option({"name": "a", "database": "b", "sql": "SELECT 'secret'"}, "assertions[0]")
    assert (made.expect, made.operator, made.timeout) == (True, "==", 60)
    assert len(made.sha256) == 64 and len(shown("x" * 1000)) == 101
    with pytest.raises(BadOption):
        Assertion.from_option({"name": "a", "database": "b", "sql": "c", "operator": "matches", "expect": "("}, "x")


def test_targets() -> None:
    assert target_of("random") is None
    assert (target_of("end") or target_of("")).kind == "latest"  # type: ignore[union-attr]
    found = target_of({"time": datetime.datetime(2026, 11, 26, 12, tzinfo=UTC)})
    assert found is not None and found.time == NOON
    for wrong in ("never", {"tiem": "x"}, {"time": "2026-11-26T12:00:00"}, 5):
        with pytest.raises(BadOption):
            target_of(wrong)


@pytest.mark.parametrize(
    ("minutes", "until", "beyond", "ok"),
    [
        (5, None, True, True),
        (0, None, True, False),
        (-5, None, True, False),
        (5, 10, True, True),
        (11, 10, True, False),
        (-5, None, False, True),
    ],
)
def test_a_marker(minutes: int, until: Optional[int], beyond: bool, ok: bool) -> None:
    """An old one proves nothing; one from after the target must not be there; a drill that ends with the backup needs none."""
    written = NOON + datetime.timedelta(minutes=minutes)
    limit = None if until is None else NOON + datetime.timedelta(minutes=until)
    assert judge(written, "2026-11-26T12:00:00Z", limit, beyond)[0] is ok


def test_the_verdict() -> None:
    def found(*results: Optional[bool]) -> Findings:
        made = Findings(Progress(None))
        made.checks = [Check("c", "s", 1, 2, ok, 0.0) for ok in results]
        return made

    late = missed({"rto": 10, "rpo": None}, 11.0, None)
    assert verdict(found(True, True), []) == ("pass", [])
    assert verdict(found(True), late)[0] == "missed" and "11 s" in late[0]
    assert verdict(found(True, None), late)[0] == "partial"
    assert verdict(found(None, False), late)[0] == "fail"
    assert missed({"rto": 10, "rpo": 5}, 9.0, None) == [
        "The RPO could not be measured by this drill, so that the objective of 5 s was not shown to be met."
    ]
    refuted = found(True)
    refuted.refuted = ["The assertion 'a' does not hold."]
    assert verdict(refuted, [])[0] == "fail"
    failed = found(True)
    with pytest.raises(HoldfastError), failed.phase("restore", "restoring"):
        raise HoldfastError("base.tar is missing.")
    assert verdict(failed, []) == ("fail", ["The step 'restore' failed: base.tar is missing."])
    assert failed.phases[0].error == "base.tar is missing."


def test_where_libraries_are_looked_for(tmp_path: Any) -> None:
    (tmp_path / "postgis-3.so").touch()
    assert library_is_there("$libdir/postgis-3", str(tmp_path))
    assert library_is_there("postgis-3", str(tmp_path))
    assert library_is_there(f"{tmp_path}/postgis-3.so", "/nowhere")
    assert not library_is_there("$libdir/timescaledb", str(tmp_path))
