# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of this collection in a cluster: told from others', found by the server that they work for, and applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, name_of

_LABEL = "app.kubernetes.io/managed-by"


@dataclass
class Change:
    """What is done. ``before`` and ``after``: of the objects by name, secrets hidden, as Ansible shows a difference. ``others``: objects of the
    same kind and server that stay as they are."""

    plan: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def apply(cluster: Cluster, manifest: Manifest, dry_run: bool, force: bool, change: Change) -> Manifest:
    """Apply an object and note what that changes. Returns it as the server has it. Raises KubernetesError."""
    applied = cluster.apply(manifest, dry_run=dry_run, force=force)
    if applied.changed:
        change.plan.append(f"{'change' if applied.before else 'make'} the {name_of(manifest)}")
        change.before[name_of(manifest)] = applied.before
        change.after[name_of(manifest)] = applied.after
    return applied.object


def is_ours(there: Manifest) -> bool:
    """Whether this collection made an object."""
    return (there["metadata"].get("labels") or {}).get(_LABEL) == names.MANAGED_BY[_LABEL]


def selector(server_name: str) -> str:
    """The labels of all of ours that works for a server, and of pods and Jobs of it."""
    return f"{_LABEL}={names.MANAGED_BY[_LABEL]},{names.SERVER}={names.label(server_name)}"


def of_server(cluster: Cluster, kind: str, server_name: str) -> list[Manifest]:
    """Our objects of a kind that work for a server. Raises KubernetesError."""
    found = cluster.list(kind, selector(server_name))
    # A label is cut and cleaned of what it may not have: the annotation tells two servers of one label apart.
    return [one for one in found if (one["metadata"].get("annotations") or {}).get(names.SERVER_NAME) == server_name]


def refuse_to_delete_others(cluster: Cluster, kind: str, there: Manifest) -> None:
    """Raise KubernetesError where an object that is to go is not ours."""
    if not is_ours(there):
        raise KubernetesError(
            f"The {kind} {there['metadata']['name']} in the namespace {cluster.namespace} is not one of this collection (it has no label {_LABEL}: "
            f"{names.MANAGED_BY[_LABEL]}). It was left as it is."
        )


def refuse_to_take_over(kind: str, there: Manifest, server_name: str, does: str) -> None:
    """Raise KubernetesError where the name of an object is somebody else's, or works for another server. ``does``: what it does, such as
    ``works for``."""
    name, where = there["metadata"]["name"], f"the namespace {there['metadata'].get('namespace')}"
    if not is_ours(there):
        raise KubernetesError(
            f"There is a {kind} {name} in {where}, and it is not one of this collection. It was left as it is: give this one another name, or "
            "delete that one."
        )
    server = (there["metadata"].get("annotations") or {}).get(names.SERVER_NAME)
    if server != server_name:
        raise KubernetesError(
            f"The {kind} {name} in {where} {does} the server {server}, not {server_name}: taking its name would end that. Give this one a name of "
            "its own."
        )
