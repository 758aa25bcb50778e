# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what receives and ships a server's WAL in the cluster is at work, and if not what it said as it ended: read from its Deployment and pods.
A container that ends again and again is quiet there, while its slot keeps more and more WAL on the server."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import progress_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule


def of_deployment(one: Manifest, pods: Sequence[Manifest]) -> Schedule:
    """One of ours, with the pods of its server (pure). It is told of among the schedules."""
    one = {**one, "kind": "Deployment"}
    name, namespace = one["metadata"]["name"], one["metadata"].get("namespace")
    by = f"Deployment {name} in {namespace}"
    if not (one.get("spec") or {}).get("replicas", 1):
        return Schedule(name, by, idle="it is suspended", in_cluster=True, goes_on=True)
    progress = progress_of(one)
    if progress.done:
        return Schedule(name, by, in_cluster=True, goes_on=True)
    labels = one["spec"]["selector"]["matchLabels"].items()
    its_pods = [{**pod, "kind": "Pod"} for pod in pods if labels <= (pod["metadata"].get("labels") or {}).items()]
    why = " ".join(trouble.message for trouble in troubles([one, *its_pods]))
    return Schedule(name, by, failed=why or progress.message, in_cluster=True, goes_on=True)
