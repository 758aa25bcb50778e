# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: evidence that is not what was written. Members: changed, renamed, replaced, removed at the beginning and in the middle, put there, of a
newer format; the page for people."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository


def content(verdict: str = "pass", backup: str = "b1") -> dict[str, Any]:
    return {"format": 1, "verdict": verdict, "backup": {"id": backup}, "size": 1.5, "text": "größe"}


def chained(shelf: Shelf, count: int) -> list[dict[str, Any]]:
    return [
        evidence.write(shelf, content(), f"20261126T12000{number}Z", lambda sealed: sealed["id"], None, [])
        for number in range(count)
    ]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(FileRepository(str(tmp_path)), "main")


def test_names_tell(shelf: Shelf) -> None:
    for backup in ("20261121T014512Z-3f9a1c", "a.b_c-d", None):
        name = evidence.name_of(7, "20261126T120102Z", "missed", backup)
        assert evidence.understand(name) == evidence.Drill(name, 7, "2026-11-26T12:01:02Z", "missed", backup)
    assert evidence.understand("lock") is None and evidence.understand("000001-x.pass.b") is None


def test_a_chain(shelf: Shelf, tmp_path: Path) -> None:
    first, second, third = chained(shelf, 3)
    assert first["previous"] is None and second["previous"] == {"id": first["id"], "sha256": first["sha256"]}
    assert [drill.number for drill in evidence.drills(shelf)] == [1, 2, 3]
    assert evidence.read(shelf, third["id"]) == third
    assert evidence.audit(shelf) == []
    assert (tmp_path / "main" / "_drills" / f"{third['id']}.md").read_text() == third["id"]


def test_what_was_changed_or_removed(shelf: Shelf) -> None:
    made = chained(shelf, 4)
    keys = [evidence.key_of(shelf, one["id"]) for one in made]
    whole = [shelf.repository.read(key) for key in keys]
    shelf.repository.write(keys[1], whole[1].replace(b'"size": 1.5', b'"size": 2.5'))
    assert "was changed after it was written" in " ".join(evidence.audit(shelf))
    with pytest.raises(CatalogError, match="was changed"):
        evidence.read(shelf, made[1]["id"])
    # One that is sealed anew is itself whole, and no longer the one that the next one follows.
    forged = evidence.seal({**content(), "id": made[1]["id"]}, made[0])
    forged["size"] = 2.5
    forged["sha256"] = evidence.digest(forged)
    shelf.repository.write(keys[1], json.dumps(forged).encode())
    assert "what is there was replaced" in " ".join(evidence.audit(shelf))
    shelf.repository.delete(keys[1])
    told = " ".join(evidence.audit(shelf))
    assert "number 2, before" in told and "what was between was removed" in told
    shelf.repository.delete(keys[0])
    assert "number 1 to 2, before" in evidence.audit(shelf)[0]


def test_a_name_that_says_something_else() -> None:
    name = evidence.name_of(1, "20261126T120102Z", "fail", "b1")
    sealed = evidence.seal({**content("fail"), "id": name}, None)
    assert evidence.damage(sealed, name) is None
    assert "says of itself" in str(evidence.damage(sealed, name.replace(".fail.", ".pass.")))
    assert "says of itself" in str(evidence.damage(sealed, name.replace("b1", "b2")))
    newer = copy.deepcopy(sealed)
    newer["format"] = 2
    assert "format 2" in str(evidence.damage(newer, name))
    assert evidence.damage([], name) == "is no evidence"


def test_a_broken_chain_goes_on(shelf: Shelf) -> None:
    """The next drill says so, and its own evidence is whole."""
    (made,) = chained(shelf, 1)
    shelf.repository.write(evidence.key_of(shelf, made["id"]), b"{}")
    warnings: list[str] = []
    second = evidence.write(shelf, content(), "20261126T130000Z", lambda sealed: "", None, warnings)
    assert "chain of evidence is broken" in warnings[0] and second["previous"] == {"id": made["id"], "sha256": None}


def test_the_last_of_each(shelf: Shelf) -> None:
    known = [
        evidence.Drill("1", 1, "t1", "pass", "a"),
        evidence.Drill("2", 2, "t2", "fail", "a"),
        evidence.Drill("3", 3, "t3", "missed", "b"),
        evidence.Drill("4", 4, "t4", "fail", None),
    ]
    assert {name: drill.verdict for name, drill in evidence.last_of_each(known).items()} == {"a": "fail", "b": "missed"}
    assert {name: drill.at for name, drill in evidence.proven(known).items()} == {"a": "t1", "b": "t3"}


def test_the_order_of_several_chains() -> None:
    """The kind: who came last, where a clock jumped. Found: a drill that failed after the clock was set back was taken for the one before the pass, so
    that all was well. Members: back; ahead for one drill, which hides no later one of another chain; two at one moment."""

    def order(**chains: str) -> list[str]:
        """``1030p`` passed at 10:30."""
        made = {
            name: [
                evidence.Drill(one, number, f"2026-11-26T{one[:2]}:{one[2:4]}:00Z", one[4:], "b")
                for number, one in enumerate(known.split(), 1)
            ]
            for name, known in chains.items()
        }
        return [f"{name}:{drill.id}" for name, drill in evidence.in_order(made)]

    assert order(disk="1000p 1200p", s3="1100f") == ["disk:1000p", "s3:1100f", "disk:1200p"]
    assert order(disk="1200p 1130f") == ["disk:1200p", "disk:1130f"]
    assert order(disk="2300p 1130p", s3="1200f") == ["disk:2300p", "disk:1130p", "s3:1200f"]
    assert order(disk="1200f", s3="1200p") == ["disk:1200f", "s3:1200p"]
    assert order(disk="", s3="") == []
