# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: "latest" looked at time alone. Members: an ad hoc backup of a part that is newer than the nightly one of all; of another
database; a clock that ran ahead, was set back, or stood still; two backups of one second; a new server under an old name; a link
of a chain that is missing; nothing but parts."""

from __future__ import annotations

import datetime
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import (
    in_order,
    latest,
    latest_whole,
    newest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import PartsRequest, lacks
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.timezone.utc)


def backup(
    name: str,
    at: str,
    lsn: Optional[str] = None,
    *,
    system: Optional[str] = "7",
    timeline: Optional[int] = 1,
    has: tuple[str, ...] = ("shop", "hr"),
    kind: str = "logical",
    parent: Optional[str] = None,
    verified: bool = True,
    **scope: Any,
) -> Record:
    moment = f"2026-11-{at}Z"
    return Record(
        id=name, engine="pg_dump", kind=kind, engine_version="16", started_at=moment, stopped_at=moment,
        server={"name": "main", "system_id": system, "timeline": timeline}, start_lsn=lsn, stop_lsn=lsn,
        scope={"databases": None, "schemas": [], "tables": [], "globals": True, **scope}, consistency={},
        databases=[{"name": item} for item in has], compression={}, encryption={"method": "none"}, artifacts=[],
        created_by="", parent=parent, verified_at=moment if verified else None,
    )  # fmt: skip


def names(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def test_the_servers_own_position_decides_where_clocks_lie() -> None:
    ahead = backup("ahead", "30T00:00:00", "0/20")
    after = backup("after", "24T00:00:00", "0/30")
    assert names(in_order([after, ahead])) == ["ahead", "after"]
    set_back = backup("set back", "01T00:00:00", "0/40")
    assert names(in_order([set_back, after, ahead])) == ["ahead", "after", "set back"]
    recovered = backup("recovered", "24T01:00:00", "0/25", timeline=2)
    assert names(in_order([recovered, after])) == ["after", "recovered"]


def test_two_of_one_second_have_an_order() -> None:
    first, second = backup("z", "24T00:00:00", "0/20"), backup("a", "24T00:00:00", "0/28")
    assert names(in_order([second, first])) == ["z", "a"]
    finer = backup("a", "24T00:00:00.250"), backup("z", "24T00:00:00.125")
    assert names(in_order(finer)) == ["z", "a"]


def test_servers_are_ordered_among_each_other_by_the_clock() -> None:
    old, new = backup("old", "20T00:00:00", "9/0"), backup("new", "24T00:00:00", "0/20", system="8")
    assert names(in_order([new, old])) == ["old", "new"]


def test_a_backup_from_the_future_is_not_the_newest_for_ever() -> None:
    future, today = backup("future", "29T00:00:00", system=None), backup("today", "25T11:00:00", system=None)
    assert newest([future, today], NOW) is today
    assert newest([future], NOW) is future
    assert newest([backup("future", "29T00:00:00", "0/30"), backup("today", "25T11:00:00", "0/20")], NOW).id == "future"  # type: ignore[union-attr]
    assert newest([], NOW) is None


NIGHT = backup("night", "24T01:00:00", "0/20")


@pytest.mark.parametrize(
    ("other", "wanted", "taken"),
    [
        # An ad hoc backup of a part is no successor of the whole.
        (backup("other", "25T01:00:00", "0/30", tables=["orders"]), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", tables=["orders"]), PartsRequest(databases=["shop"]), "night"),
        (backup("other", "25T01:00:00", "0/30", tables=["orders"]), PartsRequest(tables=["orders"]), "other"),
        (backup("other", "25T01:00:00", "0/30", tables=["orders"]), PartsRequest(tables=["people"]), "night"),
        (backup("other", "25T01:00:00", "0/30", schemas=["crm"]), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", schema_only=True), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", schema_only=True), PartsRequest(schema_only=True), "night"),
        (backup("other", "25T01:00:00", "0/30", exclude_tables=["logs"]), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", exclude_table_data=["logs"]), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", exclude_table_data=["logs"]), PartsRequest(tables=["logs"]), "night"),
        (backup("other", "25T01:00:00", "0/30", exclude_table_data=["s.l*"]), PartsRequest(tables=["s.logs"]), "night"),
        (backup("other", "25T01:00:00", "0/30", exclude_tables=["l*"]), PartsRequest(tables=["s.logs"]), "night"),
        (backup("other", "25T01:00:00", "0/30", globals=False), PartsRequest(), "night"),
        # One database, all of it: it has what is asked for.
        (backup("other", "25T01:00:00", "0/30", databases=["shop"], has=("shop",)), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", databases=["shop"], has=("shop",)), PartsRequest(["shop"]), "other"),
        (backup("other", "25T01:00:00", "0/30", databases=["shop"], has=("shop",)), PartsRequest(["hr"]), "night"),
        (
            backup("other", "25T01:00:00", "0/30", databases=["shop"], has=("shop",)),
            PartsRequest(["shop", "hr"]),
            "night",
        ),
        # The same scope: the newer one; a database that was dropped since is no reason to go back.
        (backup("other", "25T01:00:00", "0/30", has=("shop",)), PartsRequest(), "other"),
        (backup("other", "25T01:00:00", "0/30", verified=False), PartsRequest(), "night"),
        (backup("other", "25T01:00:00", "0/30", kind="full"), PartsRequest(), "night"),
    ],
)
def test_the_newest_that_has_what_is_asked_for(other: Record, wanted: PartsRequest, taken: str) -> None:
    assert latest([NIGHT, other], wanted, NOW, "the repository").record.id == taken


def test_what_is_newer_and_has_less_is_named() -> None:
    other = backup("other", "25T01:00:00", "0/30", tables=["orders"])
    (warning,) = latest([NIGHT, other], PartsRequest(), NOW, "the repository").warnings
    assert "other" in warning
    assert "only the tables orders" in warning


def test_parts_are_enough_where_parts_are_all_that_there_is() -> None:
    parts = [backup(str(day), f"{day}T00:00:00", f"0/{day}", exclude_tables=["logs"]) for day in (20, 21, 22)]
    assert latest(parts, PartsRequest(), NOW, "the repository").record.id == "22"
    definitions = backup("23", "23T00:00:00", "0/23", schema_only=True)
    (warning,) = latest([definitions], PartsRequest(), NOW, "the repository").warnings
    assert "schema_only" in warning
    parts = [backup(str(day), f"{day}T00:00:00", f"0/{day}", tables=["logs"]) for day in (20, 21, 22)]
    assert latest(parts, PartsRequest(), NOW, "the repository").record.id == "22"


def test_several_that_complement_each_other_are_a_question() -> None:
    both = [
        backup("shops", "24T00:00:00", "0/20", databases=["shop"], has=("shop",)),
        backup("people", "24T01:00:00", "0/30", databases=["hr"], has=("hr",)),
    ]
    with pytest.raises(CatalogError, match=r"(?s)people has hr.*shops has shop"):
        latest(both, PartsRequest(), NOW, "the repository")
    assert latest(both, PartsRequest(["shop"]), NOW, "the repository").record.id == "shops"


def test_none_that_has_it_says_what_there_is() -> None:
    with pytest.raises(CatalogError, match=r"night has not crm, only hr, shop"):
        latest([NIGHT], PartsRequest(["crm"]), NOW, "the repository")
    with pytest.raises(CatalogError, match=r"never verified"):
        latest([backup("new", "24T00:00:00", verified=False)], PartsRequest(), NOW, "the repository")
    with pytest.raises(CatalogError, match=r"backups of the whole server.*pg_recover \(playbook recover\)"):
        latest([backup("new", "24T00:00:00", kind="full")], PartsRequest(), NOW, "the repository")


def test_damaged_ones_are_passed_over_and_named() -> None:
    other = backup("other", "25T01:00:00", "0/30")
    found = latest([NIGHT, other], PartsRequest(), NOW, "the repository", {"other": "globals.sql is missing."})
    assert found.record.id == "night"
    assert "globals.sql" in found.warnings[-1]


def test_a_chain_is_one_thing() -> None:
    full = backup("full", "23T00:00:00", "0/10", kind="full")
    link = backup("link", "24T00:00:00", "0/20", kind="incremental", parent="full")
    orphan = backup("orphan", "25T00:00:00", "0/30", kind="incremental", parent="gone")
    assert latest_whole([full, link, orphan], NOW, "the repository").id == "link"
    with pytest.raises(CatalogError, match="no verified backup"):
        latest_whole([orphan], NOW, "the repository")
    circle = [
        backup("a", "23T00:00:00", "0/10", kind="incremental", parent="b"),
        backup("b", "24T00:00:00", "0/20", kind="incremental", parent="a"),
    ]
    with pytest.raises(CatalogError, match="no verified backup"):
        latest_whole(circle, NOW, "the repository")


@pytest.mark.parametrize(
    "left_out, table, lacking",
    [
        ("logs", "logs", True),
        ("logs", "s.logs", True),
        ("s.logs", "logs", True),
        ("s.l*", "s.logs", True),
        ("s.l*", "t.logs", False),
        ("logs", "orders", False),
    ],
)
def test_rows_that_were_left_out_are_not_had(left_out: str, table: str, lacking: bool) -> None:
    record = backup("b", "25T00:00:00", exclude_table_data=[left_out])
    assert (lacks(record, PartsRequest(tables=[table])) is not None) == lacking
    assert lacks(record, PartsRequest(tables=[table], schema_only=True)) is None
