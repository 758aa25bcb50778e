# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances are fenced then, and the last segment, as tables: it is ended again while somebody writes, and what does not come stops nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import cluster_state, quiesce, window
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import HEALTHY
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster_state import (
    ClusterState,
    StateRequest,
    StateResult,
    fenced_then,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, RepositoryError, ServerError
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
    """Answers what save_last asks; ``writes``: transactions before each look; ``snapshots``: what is seen in it instead."""

    def __init__(self, writes: list[int], snapshots: list[str] | None = None) -> None:
        self.writes, self.xid, self.ended = writes, 700, 0
        self.snapshots = snapshots or []
        #: restore points that there were at each look
        self.looked: list[int] = []

    def restore_point(self, connection: Any, name: str) -> WalEnd:
        self.ended += 1
        return WalEnd(f"0/{self.ended}000028", 1, f"00000001000000000000000{self.ended}", utcnow())

    def switch(self, connection: Any) -> None:
        """What is in the store is looked for by its name."""

    def value(self, connection: Any, query: str, params: Any = None) -> Any:
        if "pg_current_snapshot" in query:
            if self.snapshots:
                found = self.snapshots.pop(0)
                return found.split(":")[1] if "xmax" in query else found
            self.looked.append(self.ended)
            self.xid += self.writes.pop(0) if self.writes else 0
            return f"{self.xid}:{self.xid}:"
        return 3 if "pg_stat_activity" in query else ""


class Archive:
    description = "shop in the store"

    def __init__(self, lacks: bool = False) -> None:
        self.lacks = lacks

    def missing(self, segments: list[str], size: Any) -> list[str]:
        return segments if self.lacks else []


def save(
    monkeypatch: pytest.MonkeyPatch, writes: list[int], lacks: bool = False, snapshots: list[str] | None = None
) -> quiesce.Safe:
    server = Server(writes, snapshots)
    monkeypatch.setattr(quiesce, "facts", server)
    monkeypatch.setattr(quiesce, "wal_end", server)
    archive: Any = Archive(lacks)
    connection: Any = None
    found = quiesce.save_last(connection, archive, SegmentSize(), "p", 0.01, lambda message: None)
    assert server.looked[:2] in ([], [0, 1])  # before the restore point, and after its segment was seen
    return found


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


def test_a_transaction_that_was_open_and_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """None has begun since, and its end is behind the segment that was seen: it is ended again."""
    found = save(monkeypatch, [], snapshots=["700:705:700", "705:705:", "705:705:", "705:705:"])
    assert found.quiet and found.name == "p-2"


def test_a_segment_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerError, match="wal_timeout.*Look at the condition ContinuousArchiving"):
        save(monkeypatch, [], lacks=True)


STORE = {"barmanObjectStore": {"destinationPath": "s3://b/p"}}


def pod(name: str, ready: bool) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


class Api:
    """One Cluster; what is patched is noted, and nothing comes of it."""

    namespace = "n"

    def __init__(self, annotations: dict[str, str], backup: dict[str, Any], archives: str, phase: str) -> None:
        conditions = [{"type": "Ready", "status": "True"}, {"type": "ContinuousArchiving", "status": archives}]
        status = {"phase": phase, "conditions": conditions, "currentPrimary": "shop-1", "instanceNames": KNOWN}
        metadata = {"name": "shop", "namespace": "n", "annotations": annotations}
        self.cluster: Any = {"metadata": metadata, "spec": {"instances": 3, "backup": backup}, "status": status}
        self.patched: list[Any] = []
        self.pods: list[Any] = []

    def get(self, kind: str, name: str, namespace: Any = None) -> Any:
        return self.cluster

    def patch(self, kind: str, name: str, body: Any, dry_run: bool = False) -> None:
        self.patched.append(body["metadata"]["annotations"])
        if not dry_run:  # to hibernate, or to fence
            self.pods = [pod(one["metadata"]["name"], False) for one in self.pods]
            self.cluster["status"]["conditions"].append({"type": "cnpg.io/hibernation", "status": "True"})

    def list(self, kind: str, selector: str = "") -> list[Any]:
        return self.pods if kind == "Pod" else []


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
        # As kubectl cnpg writes it.
        {
            "state": "fenced",
            "annotations": {"cnpg.io/fencedInstances": '["shop-2","shop-1"]'},
            "instances": ("shop-1", "shop-2"),
        },
        {"state": "unfenced", "annotations": {"cnpg.io/fencedInstances": "[]"}},
    ],
)
def test_what_is_so_already(given: dict[str, Any]) -> None:
    result, patched = asked(**given)
    assert not result.changed and result.plan == [] and patched == []


def with_login(
    api: Api, state: str, instances: tuple[str, ...], force: bool, warnings: list[str], check: bool = False
) -> StateResult:
    any_api: Any = api
    login: Any = object()
    archive: Any = Archive()
    request = StateRequest("shop", state, instances, force, 1.0, 1.0)
    return ClusterState(any_api, request, lambda: login, lambda store: archive, lambda message: None, warnings).run(
        check
    )


def test_forced_though_the_segment_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a login as without one: archiving that fails is not waited for, a store that does not take the segment is told, and it is done."""

    def fails(*_given: Any) -> Any:
        raise RepositoryError("It did not come.")

    monkeypatch.setattr(window, "check_login", lambda connection, cluster: None)
    monkeypatch.setattr(cluster_state, "facts", Server([]))
    monkeypatch.setattr(Server, "wal_segment_size", lambda self, connection: 1 << 24, raising=False)
    monkeypatch.setattr(quiesce, "save_last", fails)
    for archives, said in (("True", "It did not come."), ("False", "is not archived")):
        with pytest.raises(ServerError, match=f"{said}.*Nothing was stopped.*force: true"):
            with_login(Api({}, STORE, archives, HEALTHY), "hibernated", (), False, [])
        api, warnings = Api({}, STORE, archives, HEALTHY), list[str]()
        done = with_login(api, "hibernated", (), True, warnings)
        assert done.changed and done.segment is None and api.patched == [{"cnpg.io/hibernation": "on"}]
        assert said in warnings[0] and "Nothing was" not in warnings[0] and done.proof.unproven


def test_somebody_fences_another_one_while_the_store_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is what is fenced then, not what was read minutes ago."""
    api = Api({}, STORE, "True", HEALTHY)

    def meanwhile(connection: Any, cluster: Any) -> None:
        api.cluster["metadata"]["annotations"] = {"cnpg.io/fencedInstances": '["shop-3"]'}

    monkeypatch.setattr(window, "check_login", meanwhile)
    done = with_login(api, "fenced", ("shop-1",), False, [], check=True)
    assert api.patched == [{"cnpg.io/fencedInstances": '["shop-1", "shop-3"]'}]
    assert done.before == {"cnpg.io/fencedInstances": '["shop-3"]'}


def test_a_cluster_that_was_asked_to_hibernate_and_still_runs() -> None:
    with pytest.raises(ServerError, match="force: true"):
        asked("fenced", {"cnpg.io/hibernation": "on"}, phase="Failing over")


def test_a_pod_that_was_not_ready_before_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts, or fails: that PostgreSQL is stopped in it by the fence was not seen."""
    api = Api({}, STORE, "True", HEALTHY)
    api.pods = [pod("shop-2", True), pod("shop-3", False)]
    proof = with_login(api, "fenced", ("shop-2", "shop-3"), False, []).proof
    assert "PostgreSQL was stopped in shop-2:" in proof.proven[1]
    assert proof.unproven == ["That PostgreSQL does not run in shop-3: before this run it was not ready either."]
