# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the evidence of a drill is kept: beside the backups, else in another tier, else on this host."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.drill import markdown
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.course import About
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.tiers import Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put

#: the evidence as it was sealed, and where it lies, for people
Kept = tuple[dict[str, Any], str]


def keep(
    tiers: Sequence[Tier], name: str, content: Mapping[str, Any], stamp: str, about: About, warnings: list[str]
) -> Kept:
    """Write it into the first of ``tiers`` that takes it: a drill that failed leaves its evidence all the same. ``stamp`` as in
    ``evidence.name_of``. Raises HoldfastError: nothing takes it, nor this host."""
    wrong = []
    for tier in tiers:
        if tier.shelf is None:
            wrong.append(f"{tier.name}: {tier.error}")
            continue
        try:
            found = _beside(tier.shelf, content, stamp, about, warnings)
        except HoldfastError as exc:
            wrong.append(f"{tier.name}: {exc}")
            continue
        warnings += [f"The evidence could not be written to {text}" for text in wrong]
        return found
    path = os.path.join(os.path.expanduser(about.state_dir), "drills", name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    drill_id = evidence.name_of(0, stamp, content["verdict"], (content["backup"] or {}).get("id"))
    sealed = evidence.seal({**content, "id": drill_id}, None)
    kept_at = os.path.join(path, f"{drill_id}.json")
    put(kept_at, json.dumps(sealed, indent=1, ensure_ascii=False))
    warnings.append(f"The evidence is on this host alone ({kept_at}), in no chain: {' '.join(wrong)}")
    return sealed, kept_at


def _beside(shelf: Shelf, content: Mapping[str, Any], stamp: str, about: About, warnings: list[str]) -> Kept:
    warnings += evidence.audit(shelf)
    sealed = evidence.write(shelf, content, stamp, markdown.tell, about.sign, warnings)
    return sealed, f"{evidence.key_of(shelf, sealed['id'])} in {shelf.repository.description}"
