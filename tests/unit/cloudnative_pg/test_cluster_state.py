# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances are fenced then, and the last segment, as tables: it is ended again while somebody writes, and what does not come stops nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import quiesce
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import HEALTHY
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster_state import (
    ClusterState,
    StateRequest,
    StateResult,
    fenced_then,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.wal_end import WalEnd
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
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

    def restore_point(self, connection: Any, name: str) -> WalEnd:
        self.ended += 1
        return WalEnd(f"0/{self.ended}000028", 1, f"00000001000000000000000{self.ended}", utcnow())

    def switch(self, connection: Any) -> None:
        """What is in the store is looked for by its name."""

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
    server = Server(writes)
    monkeypatch.setattr(quiesce, "facts", server)
    monkeypatch.setattr(quiesce, "wal_end", server)
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


STORE = {"barmanObjectStore": {"destinationPath": "s3://b/p"}}


class Api:
    """One Cluster; what is patched is noted, and nothing comes of it."""

    namespace = "n"

    def __init__(self, annotations: dict[str, str], backup: dict[str, Any], archives: str, phase: str) -> None:
        conditions = [{"type": "Ready", "status": "True"}, {"type": "ContinuousArchiving", "status": archives}]
        status = {"phase": phase, "conditions": conditions, "currentPrimary": "shop-1", "instanceNames": KNOWN}
        metadata = {"name": "shop", "namespace": "n", "annotations": annotations}
        self.cluster = {"metadata": metadata, "spec": {"instances": 3, "backup": backup}, "status": status}
        self.patched: list[Any] = []

    def get(self, kind: str, name: str, namespace: Any = None) -> Any:
        return self.cluster

    def patch(self, kind: str, name: str, body: Any, dry_run: bool = False) -> None:
        assert dry_run
        self.patched.append(body["metadata"]["annotations"])


def asked(
    state: str,
    annotations: dict[str, str] | None = None,
    backup: dict[str, Any] | None = None,
    archives: str = "True",
    phase: str = HEALTHY,
    instances: tuple[str, ...] = (),
    force: bool = False,
) -> tuple[StateResult, list[Any]]:
    """In check mode, without a login."""
    api: Any = Api(annotations or {}, STORE if backup is None else backup, archives, phase)
    warnings: list[str] = []
    opened: Any = None
    request = StateRequest("shop", state, instances, force, 1.0, 1.0)
    run = ClusterState(api, request, lambda: None, opened, lambda message: None, warnings)
    return run.run(check=True), api.patched


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"state": "hibernated"}, "No login is given.*force: true"),
        ({"state": "hibernated", "backup": {}}, "archives to no object store.*Nothing was stopped"),
        ({"state": "hibernated", "archives": "False"}, "not archived"),
        ({"state": "hibernated", "phase": "Failing over"}, "is not healthy"),
        ({"state": "hibernated", "instances": ("shop-1",)}, "mean nothing"),
        ({"state": "fenced"}, "No login is given"),
        ({"state": "fenced", "instances": ("shop-1",)}, "No login is given"),
    ],
)
def test_what_is_not_stopped(given: dict[str, Any], why: str) -> None:
    with pytest.raises((ServerError, BadOption), match=why):
        asked(**given)


@pytest.mark.parametrize(
    ("given", "annotation"),
    [
        ({"state": "hibernated", "force": True}, {"cnpg.io/hibernation": "on"}),
        ({"state": "hibernated", "force": True, "archives": "False"}, {"cnpg.io/hibernation": "on"}),
        # A standby writes nothing that is not its primary's.
        ({"state": "fenced", "instances": ("shop-2",)}, {"cnpg.io/fencedInstances": '["shop-2"]'}),
        # What stands still has written nothing since.
        (
            {"state": "fenced", "annotations": {"cnpg.io/fencedInstances": '["shop-1"]'}, "instances": ("shop-2",)},
            {"cnpg.io/fencedInstances": '["shop-1", "shop-2"]'},
        ),
        ({"state": "running", "annotations": {"cnpg.io/hibernation": "on"}}, {"cnpg.io/hibernation": "off"}),
        (
            {"state": "unfenced", "annotations": {"cnpg.io/fencedInstances": '["*"]'}},
            {"cnpg.io/fencedInstances": None},
        ),
    ],
)
def test_what_is_asked_of_the_operator(given: dict[str, Any], annotation: dict[str, Any]) -> None:
    result, patched = asked(**given)
    assert result.changed and patched == [annotation]
    forced = given.get("force", False)
    assert bool(result.proof.unproven) is forced


@pytest.mark.parametrize(
    "given",
    [
        {"state": "hibernated", "annotations": {"cnpg.io/hibernation": "on"}},
        {"state": "running"},
        {"state": "running", "annotations": {"cnpg.io/hibernation": "off"}},
        {"state": "fenced", "annotations": {"cnpg.io/fencedInstances": '["*"]'}, "instances": ("shop-1",)},
        {"state": "unfenced"},
    ],
)
def test_what_is_so_already(given: dict[str, Any]) -> None:
    result, patched = asked(**given)
    assert not result.changed and result.plan == [] and patched == []
