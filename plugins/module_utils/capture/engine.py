# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine that keeps the objects a server is made of, and the tier that knows when nothing has changed."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.collect import Found
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.content import ENGINE, OBJECTS, digest, is_of
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import scope
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import (
    Draft,
    Folder,
    FolderEngine,
    Plan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta

_BEYOND = (
    "What belongs to the whole cluster is not captured: storage and snapshot classes, definitions of an operator's kinds, ClusterRoles, the "
    "namespace's own labels."
)


class CaptureEngine(FolderEngine):
    """Writes what was collected as one artifact."""

    name = ENGINE
    kind = "objects"
    version = "v1"

    def __init__(self, found: Found, content: bytes, request: BackupRequest, namespace: str, proof: Proof) -> None:
        self._found, self._content, self._request = found, content, request
        self._namespace, self._proof = namespace, proof

    def plan(self) -> Plan:
        names = ", ".join(key(one) for one in self._found.objects)
        server = {"system_id": None, "timeline": None, "version": None, "version_num": None, "in_recovery": None}
        step = f"keep {len(self._found.objects)} objects of the namespace {self._namespace}: {names}"
        return Plan([step], server, dict(self._request.scope), list(self._found.missing))

    def back_up(self, folder: Folder) -> Draft:
        folder.put(OBJECTS, "objects", self._content, compress=False)
        objects = [
            {"api_version": one["apiVersion"], "kind": one["kind"], "name": meta(one)["name"]}
            for one in self._found.objects
        ]
        self._proof.proven.append(f"{len(objects)} objects were read, and are in it as they were.")
        self._proof.unproven += [*self._found.missing, *self._found.left_out, _BEYOND]
        consistency = {
            "namespace": self._namespace,
            "objects": objects,
            "left_out": self._found.left_out,
            "digest": digest(self._content),
        }
        return Draft(None, None, consistency, [], list(self._found.missing))


class CaptureTier(FolderTier):
    """Our folder in a repository. Where neither an id nor an age is asked for, the newest capture is enough while nothing has changed."""

    content = b""

    def look(self, request: BackupRequest, present: Present) -> None:
        super().look(request, present)
        if self.record is not None or request.id or request.max_age is not None:
            return
        newest = next((one for one in reversed(in_order(self.known)) if scope.key(one) == request.key), None)
        if newest is None or newest.verified_at is None or not is_of(newest.consistency.get("digest"), self.content):
            return
        if scope.not_encrypted_for(newest, request.encryption) or self._closed(newest):
            return
        wrong = self.doubt(newest)
        if wrong is None:
            self.record = newest
        else:
            self._warn([f"Nothing has changed since {newest.id}, and another one is needed all the same: {wrong}."])
