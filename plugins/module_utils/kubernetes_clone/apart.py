# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a clone that runs is apart: no Service leads to it and to another server, neither its own nor anybody's."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, selects, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.objects import CLONE


def look(cluster: Cluster, clone: str) -> Proof:
    """Asked of the cluster, as it is now. ``missing``: a Service that leads to both."""
    return judge(cluster.list("Service"), cluster.list("Pod"), clone)


def judge(services: Manifests, pods: Manifests, clone: str) -> Proof:
    """Pure."""
    proof, leading = Proof(), 0
    for service in services:
        selector = spec_of(service).get("selector")
        found = [one for one in pods if selector and selects({"matchLabels": selector}, meta(one).get("labels") or {})]
        mine = [one for one in found if (meta(one).get("labels") or {}).get(CLONE) == clone]
        others = [str(meta(one)["name"]) for one in found if one not in mine]
        name = meta(service)["name"]
        own = (meta(service).get("labels") or {}).get(CLONE) == clone
        if mine and others:
            proof.missing.append(f"The Service {name} leads to the clone and to {', '.join(others)} as well.")
        elif own and others:
            proof.missing.append(f"The clone's own Service {name} leads to {', '.join(others)}.")
        leading += bool(mine)
    if not proof.missing:
        proof.proven.append(f"No Service leads to the clone and to another pod; {leading} lead to the clone alone.")
    return proof
