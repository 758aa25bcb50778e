# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object that is there is what was captured, and the patch that makes it so (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import strip
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.owned import without_secrets

#: maps of whatever names: one more in them is somebody's, and no default of the API
_FREE = ("data", "binaryData", "matchLabels", "nodeSelector", "limits", "requests", "selector")
_MISSING = object()


def differences(there: Manifest, wanted: Manifest) -> list[str]:
    """The fields, as paths, in which an object that is there is not what is ``wanted`` (a stripped one). A field that it has besides is none,
    where nobody set it: a newer cluster has more defaults. Labels and annotations that others added are none either."""
    found: list[str] = []
    _compare(strip(there), wanted, "", _set_by_somebody(there), found)
    return list(dict.fromkeys(found))


def patch(there: Manifest, wanted: Manifest) -> Manifest:
    """The merge patch (RFC 7386) that makes it so, and that the API server refuses where somebody changed the object since it was read."""
    body = _patch(strip(there), wanted, _set_by_somebody(there)) or {}
    body.setdefault("metadata", {})["resourceVersion"] = meta(there).get("resourceVersion")
    return body


def shown(manifest: Manifest) -> Manifest:
    """As a difference shows it: of Secrets no value."""
    return without_secrets(strip(manifest))


def _set_by_somebody(there: Manifest) -> str:
    """What the API server wrote down of who set which field; defaults are nobody's."""
    return json.dumps([entry.get("fieldsV1") for entry in meta(there).get("managedFields") or ()])


def _is_somebodys(name: str, holder: str, fields: str) -> bool:
    if holder in ("metadata.labels", "metadata.annotations"):
        return False
    return holder.rpartition(".")[2] in _FREE or f'"f:{name}"' in fields


def _compare(there: Any, wanted: Any, path: str, fields: str, found: list[str]) -> None:
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name, value in wanted.items():
            below = f"{path}.{name}".lstrip(".")
            if below == "metadata.namespace":
                continue
            if name not in there and value not in ({}, [], None):
                found.append(below)
            elif name in there:
                _compare(there[name], value, below, fields, found)
        found.extend(
            f"{path}.{name}".lstrip(".")
            for name, value in there.items()
            if name not in wanted and value not in ({}, [], None) and _is_somebodys(name, path, fields)
        )
    elif isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for one, other in zip(there, wanted):
            _compare(one, other, path, fields, found)
    elif there != wanted:
        found.append(path)


def _patch(there: Mapping[str, Any], wanted: Mapping[str, Any], fields: str, path: str = "") -> Manifest:
    """What of ``there`` has to be otherwise; lists as a whole, as a merge patch knows no part of one."""
    body: Manifest = {}
    for name, value in wanted.items():
        below = f"{path}.{name}".lstrip(".")
        before = there.get(name, _MISSING)
        if below == "metadata.namespace" or (before is _MISSING and value in ({}, [], None)):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            inner = _patch(before, value, fields, below)
            if inner:
                body[name] = inner
            continue
        told: list[str] = []
        _compare(before, value, below, fields, told)
        if told:
            body[name] = value
    for name in there:
        if name not in wanted and there[name] not in ({}, [], None) and _is_somebodys(name, path, fields):
            body[name] = None
    return body
