# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels by which a clone is told from the server that it comes from: nothing that selects the one may select the other (pure).

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import selects
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
#: given to each pod by the cluster itself
_AUTOMATIC = (POD_NAME, POD_INDEX, "controller-revision-hash")
#: these say which instance it is, the likeliest first; the rest says what it is
_OF_INSTANCE = ("app.kubernetes.io/instance", "release", "app")
_LONGEST = 63
#: below these stand the labels of nodes
_OF_NODES = ("nodeAffinity", "nodeSelector")


@dataclass(frozen=True)
class Selector:
    """What selects pods. ``what``: as people call it; ``selector``: with matchLabels and matchExpressions."""

    what: str
    selector: Mapping[str, Any]


def of_pod(labels: Mapping[str, str], stateful_set: str, ordinal: int) -> dict[str, str]:
    """All labels of a StatefulSet's pod."""
    return {**labels, POD_NAME: f"{stateful_set}-{ordinal}", POD_INDEX: str(ordinal)}


def new_labels(
    labels: Mapping[str, str], selectors: Sequence[Selector], old: str, new: str, ordinal: int = 0
) -> dict[str, str]:
    """The labels of a clone's pods that differ, with their new values: those that are the StatefulSet's name, and as few others as it takes for none
    of the ``selectors`` to select them. ``labels``: of the pod template.

    Raises:
        BadOption: one selects by something that the clone has to have too.
    """
    changed = {key: new for key, value in labels.items() if value == old and old != new}
    for one in selectors:
        keys = _keys(one.selector)
        while selects(one.selector, of_pod({**labels, **changed}, new, ordinal)):
            key = _to_change(keys, labels, changed)
            if key is None:
                raise BadOption(
                    "name", new, f"would be selected by the {one.what} as well, whatever labels it had",
                    "Clone it into another namespace (namespace).",
                )  # fmt: skip
            changed[key] = new if key == _OF_INSTANCE[0] else f"{labels[key]}-{new}"[:_LONGEST].rstrip("-_.")
    return changed


def _keys(selector: Mapping[str, Any]) -> list[str]:
    named = list(selector.get("matchLabels") or {})
    return named + [str(one.get("key")) for one in selector.get("matchExpressions") or ()]


def _to_change(keys: Iterable[str], labels: Mapping[str, str], changed: Mapping[str, str]) -> Optional[str]:
    left = sorted(key for key in keys if key in labels and key not in changed and key not in _AUTOMATIC)
    return next((key for key in _OF_INSTANCE if key in left), left[0] if left else None)


def relabelled(
    manifest: Manifest, labels: Mapping[str, str], changed: Mapping[str, str], pods: Mapping[str, str]
) -> Manifest:
    """An object in which whatever labels or selects the server's pods does so with the clone's. ``pods``: new names of pods by the former ones."""
    made = copy.deepcopy(manifest)
    _walk(made, labels, changed, pods)
    if made["kind"] == "Service":
        _exchange(made["spec"].get("selector") or {}, labels, changed, pods)
    return made


def _walk(value: Any, labels: Mapping[str, str], changed: Mapping[str, str], pods: Mapping[str, str]) -> None:
    if isinstance(value, list):
        for one in value:
            _walk(one, labels, changed, pods)
        return
    for key, below in value.items() if isinstance(value, dict) else ():
        if key in _OF_NODES:
            continue
        if key in ("labels", "matchLabels") and isinstance(below, dict):
            _exchange(below, labels, changed, pods)
        elif key == "matchExpressions" and isinstance(below, list):
            for one in below:
                name, values = one.get("key"), one.get("values")
                one.update({"values": [_new(name, each, labels, changed, pods) for each in values]} if values else {})
        elif key not in ("data", "stringData", "binaryData"):
            _walk(below, labels, changed, pods)


def _exchange(holder: Manifest, labels: Mapping[str, str], changed: Mapping[str, str], pods: Mapping[str, str]) -> None:
    for key, value in holder.items():
        holder[key] = _new(key, value, labels, changed, pods)


def _new(key: Any, value: Any, labels: Mapping[str, str], changed: Mapping[str, str], pods: Mapping[str, str]) -> Any:
    if key == POD_NAME:
        return pods.get(value, value)
    return changed[key] if key in changed and labels.get(key) == value else value
