# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Cluster hibernated and woken, its instances fenced and let go: each asked of the operator by its own annotation, after the last of what the server
wrote is in the store, and looked at afterwards in the pods themselves.

https://github.com/cloudnative-pg/cloudnative-pg/blob/main/docs/src/declarative_hibernation.md and fencing.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    preflight,
    quiesce,
    reading,
    window,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import CLUSTER, CnpgCluster
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    RepositoryError,
    ServerError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import is_true
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

HIBERNATED, RUNNING, FENCED, UNFENCED = STATES = ("hibernated", "running", "fenced", "unfenced")
ALL = "*"
_HIBERNATION, _FENCING = "cnpg.io/hibernation", "cnpg.io/fencedInstances"
_OF_CLUSTER, _ROLE = "cnpg.io/cluster", "cnpg.io/podRole"
_ARCHIVED = 120.0  # seconds in which a server that was woken archives again


@dataclass(frozen=True)
class StateRequest:
    """``instances``: of FENCED and UNFENCED, none for all; ``force``: go on though the last segment is not known to be in the store; ``timeout``,
    ``wal_timeout``: seconds."""

    cluster: str
    state: str
    instances: tuple[str, ...]
    force: bool
    timeout: float
    wal_timeout: float


@dataclass
class StateResult:
    """``plan``: what was done, or would be; ``segment``: the last one, which is in the store."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    segment: Optional[str] = None
    restore_point: Optional[str] = None
    proof: Proof = field(default_factory=Proof)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


def fenced_then(now: Sequence[str], known: Sequence[str], state: str, instances: Sequence[str]) -> list[str]:
    """Which instances are fenced then, ``*`` for all. ``now``: as the annotation has it; ``known``: all of the Cluster. Pure.

    Raises:
        BadOption: an instance is none of the Cluster.
    """
    strange = [name for name in instances if name not in known]
    if strange:
        raise BadOption(
            "instances", strange, "are no instances of the Cluster", f"It has: {', '.join(known) or 'none'}."
        )
    if state == FENCED:
        if not instances or ALL in now:
            return [ALL]
        return sorted({*now, *instances})
    if not instances:
        return []
    # The operator's own program refuses to let one go while all are fenced by "*"; the annotation can name the others.
    return sorted({*(known if ALL in now else now)} - set(instances))


class ClusterState:
    """Brings one Cluster into a state. ``connection``: to its primary, None: no login is given; ``opened``: opens a store."""

    def __init__(
        self,
        cluster: Cluster,
        request: StateRequest,
        connect: Callable[[], Optional[Connection]],
        opened: Callable[[BarmanStore], StoreArchive],
        tell: Callable[[str], None],
        warnings: list[str],
    ) -> None:
        self._cluster, self._request, self._connect, self._opened = cluster, request, connect, opened
        self._tell, self._warnings = tell, warnings
        #: the instances that were ready before they were fenced
        self._ready: set[str] = set()

    def run(self, check: bool) -> StateResult:
        """Raises HoldfastError."""
        result = StateResult()
        now = reading.read(self._cluster, self._request.cluster)
        if now.deleted:
            raise ServerError(f"{now} is being deleted. Nothing was done.")
        known = [str(name) for name in (now.manifest.get("status") or {}).get("instanceNames") or ()]
        key, value, stops = self._wanted(now, known)
        there = _annotation(now, key)
        if there != value and not (value == "off" and there is None):
            if stops:
                self._save(now, check, result)
                # Meanwhile, which may be minutes, somebody may have fenced another one, or let it go.
                now = reading.read(self._cluster, now.name)
                key, value, _stops = self._wanted(now, known)
                there = _annotation(now, key)
            result.plan.append(f"{self._said(value)} (the annotation {key})")
            result.changed = True
            result.before, result.after = {key: there}, {key: value}
            if not check and self._request.state == FENCED:
                self._ready = {pod["metadata"]["name"] for pod in self._pods() if is_true(pod, "Ready")}
            self._cluster.patch(CLUSTER, now.name, {"metadata": {"annotations": {key: value}}}, dry_run=check)
        if not check:
            self._wait(known, result)
        return result

    # What follows is how.

    def _wanted(self, now: CnpgCluster, known: Sequence[str]) -> tuple[str, Optional[str], bool]:
        """The annotation, its value then, and whether the primary is stopped by it. Raises BadOption, ServerError."""
        state = self._request.state
        if state in (HIBERNATED, RUNNING):
            if self._request.instances:
                raise BadOption(
                    "instances", list(self._request.instances), f"mean nothing for {state}", "Leave them out."
                )
            if state == HIBERNATED and not now.hibernated and not now.healthy:
                raise ServerError(
                    f"{now} is not healthy ({now.phase or 'nobody has looked at it'}): the operator hibernates none that is not, and would do it later, "
                    "whenever that is. Nothing was done."
                )
            return _HIBERNATION, "on" if state == HIBERNATED else "off", state == HIBERNATED
        then = fenced_then(now.fenced, known, state, self._request.instances)
        added = set(then) - set(now.fenced)
        if set(then) == set(now.fenced):
            return _FENCING, _annotation(now, _FENCING), False  # however it is written
        stops = ALL in added or now.primary in added
        return _FENCING, json.dumps(then) if then else None, stops and ALL not in now.fenced

    def _said(self, value: Optional[str]) -> str:
        name = self._request.cluster
        if self._request.state == HIBERNATED:
            return f"hibernate the Cluster {name}: its pods go, and its volumes stay"
        if self._request.state == RUNNING:
            return f"wake the Cluster {name}"
        which = ", ".join(self._request.instances) or "all instances"
        return f"{'fence' if self._request.state == FENCED else 'let go'} {which} of the Cluster {name}"

    def _save(self, now: CnpgCluster, check: bool, result: StateResult) -> None:
        """The last of what it wrote comes into the store, or nothing is stopped. Raises ServerError."""
        if self._stands_still(now):
            return
        if now.is_replica:
            result.proof.unproven.append("That its last WAL is in the store: it follows another one, which writes it.")
            return
        store = reading.store(self._cluster, now)
        if store is None:
            self._forced(
                f"{now} archives to no object store: what it wrote since its last backup is on its volumes alone, where it stays.",
                result,
            )
            return
        try:
            preflight.check_cluster(now, True)
        except ServerError as exc:
            self._forced(str(exc).removesuffix(f" {preflight.NOTHING_ASKED}"), result)
            return
        connection = self._connect()
        if connection is None:
            self._forced(
                f"No login is given, so that the open segment of {now} cannot be ended, and what was written last would be on the volume alone. Give "
                "login_user and login_password of a role that may call pg_switch_wal().",
                result,
            )
            return
        window.check_login(connection, now)
        result.plan.append("end the open segment by a restore point, and wait until the store has it")
        if check:
            self._opened(store)
            return
        name = f"holdfast-{self._request.state}-{utcnow():%Y%m%dT%H%M%SZ}"
        size = SegmentSize(facts.wal_segment_size(connection))
        try:
            archive = self._opened(store)
            safe = quiesce.save_last(connection, archive, size, name, self._request.wal_timeout, self._tell)
        except (ServerError, RepositoryError) as exc:
            self._forced(str(exc), result)
            return
        result.segment, result.restore_point = safe.segment, safe.name
        result.proof.proven.append(
            f"All that was written up to the restore point {safe.name} ({safe.lsn}) is in {archive.description}: its segment {safe.segment} was seen there."
        )
        if not safe.quiet:
            self._warnings.append(
                f"Somebody writes all the time, through {quiesce.MOST} segments that were ended. What was written after {safe.lsn} is on the "
                "volume alone until the server runs again. Stop the applications first (k8s_apps)."
            )
            result.proof.unproven.append(f"That nothing was written after {safe.lsn}.")
        elif safe.sessions:
            result.proof.unproven.append(
                f"That nothing was written between that look and the stop: {safe.sessions} sessions of others were there."
            )

    def _stands_still(self, now: CnpgCluster) -> bool:
        """Nothing runs that could write: it was saved when it was stopped. That it was asked to hibernate says nothing of that."""
        return now.is_true(_HIBERNATION) or ALL in now.fenced or now.primary in now.fenced

    def _forced(self, why: str, result: StateResult) -> None:
        if not self._request.force:
            raise ServerError(f"{why} Nothing was stopped. To do it all the same: force: true.")
        self._warnings.append(why)
        result.proof.unproven.append("That the last of what was written is in a store.")

    def _wait(self, known: Sequence[str], result: StateResult) -> None:
        """Raises ServerError: it did not come to that."""
        state, proof = self._request.state, result.proof
        look = {HIBERNATED: self._sleeps, RUNNING: self._serves, FENCED: self._is_fenced, UNFENCED: self._is_let_go}[
            state
        ]
        if Waiter(self._request.timeout, pause=0.3, most=2.0).until({"done": look}) is None:
            now = reading.read(self._cluster, self._request.cluster)
            condition = now.conditions.get(_HIBERNATION)
            said = f"; {condition.reason}: {condition.message}" if condition and state in (HIBERNATED, RUNNING) else ""
            raise ServerError(
                f"{now} is not {state} after {format_duration(self._request.timeout)} (timeout): the operator calls it {now.phase or 'nothing'}{said}. It "
                "was asked for, and the operator goes on. Is it running? Run this again to wait further."
            )
        claims = self._cluster.list("PersistentVolumeClaim", f"{_OF_CLUSTER}={self._request.cluster}")
        names = ", ".join(
            sorted(one["metadata"]["name"] for one in claims if not one["metadata"].get("deletionTimestamp"))
        )
        if state == HIBERNATED:
            proof.proven.append(f"No pod of it is left, and its volumes are there: {names}.")
        elif state == RUNNING:
            proof.proven.append("All of its instances are ready.")
            self._archives(proof)
        elif state == FENCED:
            which = self._request.instances or known
            proof.proven.append(f"The pods of {', '.join(which)} are there, and not ready.")
            # A pod that starts, or fails, is not ready either.
            stopped, others = (
                ", ".join(name for name in which if (name in self._ready) is ready) for ready in (True, False)
            )
            if stopped:
                proof.proven.append(f"PostgreSQL was stopped in {stopped}: before it was fenced it was ready.")
            if others:
                proof.unproven.append(
                    f"That PostgreSQL does not run in {others}: before this run it was not ready either."
                )
        else:
            proof.proven.append("No instance that was let go is fenced, and they are ready.")

    def _sleeps(self) -> Optional[bool]:
        """By its own condition, as right after it was asked for it still says that it is healthy; and by the pods."""
        now = reading.read(self._cluster, self._request.cluster)
        return True if now.is_true(_HIBERNATION) and not self._pods() else None

    def _serves(self) -> Optional[bool]:
        now = reading.read(self._cluster, self._request.cluster)
        well = now.healthy and _HIBERNATION not in now.conditions
        ready = [pod for pod in self._pods() if is_true(pod, "Ready")]
        return True if well and len(ready) >= now.instances else None

    def _is_fenced(self) -> Optional[bool]:
        pods = {pod["metadata"]["name"]: pod for pod in self._pods()}
        wanted = self._request.instances or tuple(pods)
        return True if wanted and all(name in pods and not is_true(pods[name], "Ready") for name in wanted) else None

    def _is_let_go(self) -> Optional[bool]:
        now = reading.read(self._cluster, self._request.cluster)
        pods = {pod["metadata"]["name"]: pod for pod in self._pods()}
        wanted = self._request.instances or tuple(pods)
        free = not (now.fenced if not self._request.instances else {*now.fenced} & {ALL, *wanted})
        return (
            True if free and wanted and all(name in pods and is_true(pods[name], "Ready") for name in wanted) else None
        )

    def _archives(self, proof: Proof) -> None:
        """Raises ServerError: it was woken, and does not archive."""
        now = reading.read(self._cluster, self._request.cluster)
        if reading.store(self._cluster, now) is None:
            return

        def look() -> Optional[bool]:
            return reading.read(self._cluster, self._request.cluster).is_true("ContinuousArchiving") or None

        if Waiter(_ARCHIVED, pause=0.3, most=2.0).until({"archives": look}) is None:
            raise ServerError(
                f"{now} serves, and its WAL is not archived after {format_duration(_ARCHIVED)}. Look at its condition before anybody uses it."
            )
        proof.proven.append("Its WAL is archived (ContinuousArchiving is True).")

    def _pods(self) -> Manifests:
        """Its instances, without the pods of Jobs."""
        found: Sequence[Manifest] = self._cluster.list("Pod", f"{_OF_CLUSTER}={self._request.cluster},{_ROLE}=instance")
        return list(found)


def _annotation(now: CnpgCluster, key: str) -> Optional[str]:
    return (now.manifest["metadata"].get("annotations") or {}).get(key)
