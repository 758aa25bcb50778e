# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances are fenced then, and the last segment, as tables: it is ended again while somebody writes, and what does not come stops nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import quiesce
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster_state import fenced_then
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

KNOWN = ["shop-1", "shop-2", "shop-3"]


@pytest.mark.parametrize(
    ("now", "state", "instances", "then"),
    [
        ([], "fenced", [], ["*"]),
        ([], "fenced", ["shop-2"], ["shop-2"]),
        (["shop-1"], "fenced", ["shop-2"], ["shop-1", "shop-2"]),
        (["shop-1"], "fenced", [], ["*"]),
        (["*"], "fenced", ["shop-2"], ["*"]),
        (["*"], "unfenced", [], []),
        (["shop-1", "shop-2"], "unfenced", ["shop-2"], ["shop-1"]),
        (["shop-1"], "unfenced", ["shop-2"], ["shop-1"]),
        # What the operator's own program refuses: the others are named.
        (["*"], "unfenced", ["shop-2"], ["shop-1", "shop-3"]),
    ],
)
def test_which_are_fenced_then(now: list[str], state: str, instances: list[str], then: list[str]) -> None:
    assert fenced_then(now, KNOWN, state, instances) == then


def test_an_instance_of_another_cluster() -> None:
    with pytest.raises(BadOption, match="It has: shop-1"):
        fenced_then([], KNOWN, "fenced", ["other-1"])


class Server:
    """Answers what save_last asks; ``writes``: transactions before each look."""

    def __init__(self, writes: list[int]) -> None:
        self.writes, self.xid, self.ended = writes, 700, 0

    def rows(self, connection: Any, query: str, params: Any = None) -> list[dict[str, Any]]:
        self.ended += 1
        return [{"lsn": f"0/{self.ended}000028", "segment": f"00000001000000000000000{self.ended}"}]

    def value(self, connection: Any, query: str, params: Any = None) -> Any:
        if "xmax" in query:
            self.xid += self.writes.pop(0) if self.writes else 0
            return str(self.xid)
        return 3 if "pg_stat_activity" in query else ""


class Archive:
    description = "shop in the store"

    def __init__(self, lacks: bool = False) -> None:
        self.lacks = lacks

    def missing(self, segments: list[str], size: Any) -> list[str]:
        return segments if self.lacks else []


def save(monkeypatch: pytest.MonkeyPatch, writes: list[int], lacks: bool = False) -> quiesce.Safe:
    monkeypatch.setattr(quiesce, "facts", Server(writes))
    archive: Any = Archive(lacks)
    connection: Any = None
    return quiesce.save_last(connection, archive, SegmentSize(), "p", 0.01, lambda message: None)


@pytest.mark.parametrize(
    ("writes", "name", "segment", "quiet"),
    [
        ([], "p", "000000010000000000000001", True),
        ([0, 5, 0, 0], "p-2", "000000010000000000000002", True),
        ([1] * 20, "p-4", "000000010000000000000004", False),
    ],
)
def test_until_nobody_writes(
    monkeypatch: pytest.MonkeyPatch, writes: list[int], name: str, segment: str, quiet: bool
) -> None:
    found = save(monkeypatch, writes)
    assert (found.name, found.segment, found.quiet, found.sessions) == (name, segment, quiet, 3)


def test_a_segment_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerError, match=r"wal_timeout.*Nothing was stopped"):
        save(monkeypatch, [], lacks=True)
