# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields of an object are ours, by what the API server wrote down about that, and what an apply would change of them (pure).

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest


@dataclass(frozen=True)
class Applied:
    """What an apply did, or would do. ``object``: as the server has it then. ``before`` and ``after``: the fields that are ours, with the
    values of Secrets hidden."""

    object: Manifest
    before: Manifest
    after: Manifest

    @property
    def changed(self) -> bool:
        return self.before != self.after

    @property
    def diff(self) -> dict[str, Manifest]:
        """As Ansible shows it."""
        return {"before": self.before, "after": self.after}


def applied(before: Optional[Manifest], after: Manifest, manager: str) -> Applied:
    """Compare what was there with what the server made of it."""
    return Applied(after, _shown(before, manager) if before else {}, _shown(after, manager))


def owned(manifest: Manifest, manager: str) -> Manifest:
    """The part of an object whose fields ``manager`` applied."""
    for entry in (manifest.get("metadata") or {}).get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            found = _select(manifest, entry.get("fieldsV1") or {})
            return found if isinstance(found, dict) else {}
    return {}


def without_secrets(manifest: Manifest) -> Manifest:
    """A Secret whose values are told apart, and not shown."""
    if manifest.get("kind") != "Secret" or not isinstance(manifest.get("data"), dict):
        return manifest
    hidden = {
        key: f"sha256:{hashlib.sha256(str(value).encode()).hexdigest()[:8]}" for key, value in manifest["data"].items()
    }
    return {**manifest, "data": hidden}


def plain_secret(manifest: Manifest) -> Manifest:
    """A Secret with ``data`` alone: the fields of ``stringData`` are not kept track of by the server, so that none of them would ever go."""
    if manifest.get("kind") != "Secret" or "stringData" not in manifest:
        return manifest
    made = {key: base64.b64encode(str(value).encode()).decode() for key, value in manifest["stringData"].items()}
    rest = {key: value for key, value in manifest.items() if key != "stringData"}
    return {**rest, "data": {**(manifest.get("data") or {}), **made}}


def _shown(manifest: Manifest, manager: str) -> Manifest:
    mine = owned(manifest, manager)
    if not mine:
        return {}
    metadata = manifest.get("metadata") or {}
    name = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    kind: Manifest = {key: manifest[key] for key in ("apiVersion", "kind") if key in manifest}
    return without_secrets({**kind, **mine, "metadata": {**name, **(mine.get("metadata") or {})}})


def _select(value: Any, fields: Mapping[str, Any]) -> Any:
    """``fields`` as FieldsV1: ``f:name`` a field, ``k:{…}`` an item of a list by its keys, ``v:…`` one of a set, ``.`` the thing itself."""
    inner = {key: below for key, below in fields.items() if key != "."}
    if not inner or value is None:
        return value
    if isinstance(value, dict):
        return {
            key[2:]: _select(value[key[2:]], below)
            for key, below in sorted(inner.items())
            if key.startswith("f:") and key[2:] in value
        }
    if isinstance(value, list):
        found = []
        for item in value:
            for key, below in inner.items():
                if key.startswith("v:") and json.loads(key[2:]) == item:
                    found.append(item)
                elif key.startswith("k:") and isinstance(item, dict) and json.loads(key[2:]).items() <= item.items():
                    found.append(_select(item, below))
        return found
    return value
