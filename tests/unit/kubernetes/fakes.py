# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in memory, for what has to happen in an order that a real one does not keep to (tests/kubernetes has the real one)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import AlreadyThere
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.owned import Applied

Manifest = dict[str, Any]


class FakeCluster:
    """Objects by kind and name; ``writes`` has what changed them. An apply replaces the object, which is enough here."""

    namespace = "shop"

    def __init__(self, *objects: Manifest) -> None:
        self._uids = itertools.count(1)
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.log: list[str] = []
        for one in objects:
            self.put(one)

    def put(self, manifest: Manifest) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        kept = copy.deepcopy(manifest)
        uid = self.objects[key]["metadata"]["uid"] if key in self.objects else f"uid-{next(self._uids)}"
        kept["metadata"].setdefault("namespace", self.namespace)
        kept["metadata"]["uid"] = uid
        self.objects[key] = kept
        return copy.deepcopy(kept)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    def list(self, kind: str, selector: str = "", fields: str = "", **_more: Any) -> list[Manifest]:
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        return [
            copy.deepcopy(one)
            for (found, _name), one in sorted(self.objects.items())
            if found == kind and wanted.items() <= (one["metadata"].get("labels") or {}).items()
        ]

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in self.objects:
            raise AlreadyThere(f"{key} is there")
        if dry_run:
            return copy.deepcopy(manifest)
        self.writes.append(("create", *key))
        return self.put(manifest)

    def apply(self, manifest: Manifest, dry_run: bool = False, force: bool = False) -> Applied:
        key = (manifest["kind"], manifest["metadata"]["name"])
        before = self.objects.get(key, {})
        bare = copy.deepcopy(before)
        for added in ("uid", "namespace"):
            (bare.get("metadata") or {}).pop(added, None)
        wanted = copy.deepcopy(manifest)
        wanted["metadata"].pop("namespace", None)
        applied = Applied(copy.deepcopy(manifest) if dry_run else {}, bare, wanted)
        if dry_run:
            return applied
        if applied.changed:
            self.writes.append(("apply", *key))
        return Applied(self.put(manifest), bare, wanted)

    def patch(self, kind: str, name: str, body: Any, namespace: str | None = None, **_more: Any) -> Manifest:
        if not _more.get("dry_run"):
            self.writes.append(("patch", kind, name))
            _merge(self.objects[kind, name], body)
        return copy.deepcopy(self.objects[kind, name])

    def delete(self, kind: str, name: str, uid: str = "", dry_run: bool = False, **_more: Any) -> bool:
        if dry_run or (kind, name) not in self.objects:
            return (kind, name) in self.objects
        self.writes.append(("delete", kind, name))
        del self.objects[kind, name]
        return True

    def events(self, kind: str, name: str, namespace: str | None = None) -> list[Manifest]:
        return [one for one in self.list("Event") if one["involvedObject"] == {"kind": kind, "name": name}]

    def logs(self, pod: str, **_more: Any) -> Iterator[str]:
        return iter(self.log)


def _merge(into: Manifest, body: Manifest) -> None:
    for key, value in body.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
