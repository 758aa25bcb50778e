# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RESTORE.txt of captured objects: how to have them back with kubectl alone."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.capture.content import OBJECTS
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline import by_hand


def write(record: Record) -> str:
    """The text."""
    namespace = record.consistency.get("namespace")
    artifact = next((one.key for one in record.artifacts if one.role == "objects"), OBJECTS)
    names = [f"  {one['kind']}/{one['name']}" for one in record.consistency.get("objects") or ()]
    lines = [
        f"# Backup {record.id} of the server {record.server['name']}: the objects that it is made of in Kubernetes, of the namespace {namespace}.",
        "# It has no data: that is in the other backups.",
        *(f"# {line}" for line in names),
        "",
        *by_hand.secrets(record),
        *by_hand.checksums(record),
        "",
        "# A list that kubectl takes as it is. StatefulSets and Deployments start with their count: edit spec.replicas to 0 first, where the data is",
        "# to come back before. An operator's own objects make an empty server: take them out of the list until then.",
        "umask 077",
        f"{by_hand.read(artifact, str(record.encryption['method']))} > /tmp/{OBJECTS}",
        f"kubectl diff -n {namespace} -f /tmp/{OBJECTS}",
        f"kubectl apply --server-side -n {namespace} -f /tmp/{OBJECTS}",
        f"rm /tmp/{OBJECTS}",
    ]
    return "\n".join([*lines, ""])
