# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who makes one cluster of several servers by himself, so that nobody else may add, take or exchange one (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest


def managed_by(stateful_set: Manifest, variables: Mapping[str, Any], image: str) -> str:
    """Who makes one cluster of a server and others by itself, so that a clone would join it; empty: nobody is known."""
    owner = next((one for one in meta(stateful_set).get("ownerReferences") or () if one.get("controller")), None)
    if owner is not None:
        return f"{owner.get('kind')} {owner.get('name')} (an operator's)"
    for begin, who in (
        ("PATRONI_", "Patroni"),
        ("REPMGR_", "repmgr"),
        ("STKEEPER_", "Stolon"),
        ("PG_AUTOCTL_", "pg_auto_failover"),
    ):
        if any(name.startswith(begin) for name in variables):
            return who
    if re.search(r"spilo|patroni|repmgr|stolon", image):
        return f"what the image {image} has in it"
    labels = meta(spec_of(stateful_set).get("template") or {}).get("labels") or {}
    marks = ("spilo-role", "postgres-operator.crunchydata.com/cluster")
    return "Patroni" if any(name in labels for name in marks) else ""
