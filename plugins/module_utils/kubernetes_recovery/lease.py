# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One recovery at a time of a StatefulSet, by a Lease: whoever has it renews it, and one that is not renewed any more is free.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import secrets
import threading
import time
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import Here, by_process, myself
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    AlreadyThere,
    Conflict,
    KubernetesError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import MANAGED_BY, PREFIX
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

KIND = "Lease"
PROCESS = f"{PREFIX}process"
#: seconds for which it holds, and after which it is renewed
DURATION, RENEW = 20, 5
_AGAIN = 5  # attempts while others change it


def name_of_lease(stateful_set: str) -> str:
    return f"holdfast-recovery-{stateful_set}"


class Lease:
    """Use as a context manager. ``holder`` names this run. Raises KubernetesError: another run has it, and lives."""

    def __init__(self, cluster: Cluster, stateful_set: str) -> None:
        self._cluster, self._name, self._set = cluster, name_of_lease(stateful_set), stateful_set
        self.holder = f"{platform.node()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._process = {PROCESS: json.dumps(myself("a recovery"))}
        self._ended = threading.Event()
        self._there: Optional[Manifest] = None

    def __enter__(self) -> Lease:
        watched: list[tuple[str, float]] = []

        def free() -> Optional[bool]:
            there = self._there = self._cluster.get(KIND, self._name)
            spec = spec_of(there or {})
            if there is None or not spec.get("holderIdentity") or is_of_a_dead_process(there):
                return self._take()
            # By our own clock alone: how long it has said the same.
            said = f"{spec['holderIdentity']} {spec.get('renewTime')}"
            if not watched or watched[0][0] != said:
                if watched:
                    self._refuse(spec)
                watched[:] = [(said, time.monotonic())]
            elif time.monotonic() - watched[0][1] > spec.get("leaseDurationSeconds", DURATION):
                return self._take()
            return None

        if Waiter(2.0 * DURATION + 5, pause=0.3, most=1.0).until({"free": free}) is None:
            self._refuse(spec_of(self._there or {}))
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        with contextlib.suppress(KubernetesError):
            self._keep({"holderIdentity": ""})

    def _refuse(self, spec: Manifest) -> None:
        raise KubernetesError(
            f"Another run is at work on the StatefulSet {self._set} ({spec.get('holderIdentity')}, last seen at {spec.get('renewTime')}). Nothing was "
            "done. Wait for it; when it has died, this is seen after "
            f"{spec.get('leaseDurationSeconds', DURATION)} seconds."
        )

    def _take(self) -> Optional[bool]:
        try:
            if self._there is None:
                self._there = self._cluster.create(
                    {
                        "apiVersion": "coordination.k8s.io/v1",
                        "kind": KIND,
                        "metadata": {
                            "name": self._name,
                            "namespace": self._cluster.namespace,
                            "labels": dict(MANAGED_BY),
                            "annotations": self._process,
                        },
                        "spec": self._spec(),
                    }
                )
            else:
                self._patch(self._spec())
        except (AlreadyThere, Conflict):
            return None
        return True

    def _spec(self) -> dict[str, Any]:
        return {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION, "renewTime": _now()}

    def _patch(self, spec: dict[str, Any]) -> None:
        version = meta(self._there or {}).get("resourceVersion")
        metadata = {"resourceVersion": version, "annotations": self._process}
        self._there = self._cluster.patch(KIND, self._name, {"metadata": metadata, "spec": spec})

    def _renew(self) -> None:
        while not self._ended.wait(RENEW):
            try:
                if not self._keep(self._spec()):
                    return  # somebody took it; the journal's next write says so
            except KubernetesError:
                continue

    def _keep(self, spec: dict[str, Any]) -> bool:
        """Write it, as long as it is ours: the journal, and whoever labels all there is, change it too. Raises KubernetesError."""
        for _attempt in range(_AGAIN):
            try:
                self._patch(spec)
                return True
            except Conflict:
                there = self._cluster.get(KIND, self._name)
                if spec_of(there or {}).get("holderIdentity") != self.holder:
                    return False
                self._there = there
        return True


def is_of_a_dead_process(lease: Manifest) -> bool:
    """Whether it is seen here that its holder is gone, which needs no waiting then."""
    who = str((meta(lease).get("annotations") or {}).get(PROCESS) or "")
    return by_process(who.encode(), Here.look()) is True


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
