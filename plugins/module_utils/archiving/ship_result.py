# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pass of shipping did, or would do, and in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_store import ShippingStore
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, Incomplete, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import Finished


@dataclass
class ShipResult:
    """What a pass did, or would do. ``shipped``: files, each counted once; ``removed``: files that left the directory."""

    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shipped: int = 0
    removed: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.plan)


def ship_step(items: Sequence[Finished], store: ShippingStore) -> str:
    what = items[0].name if len(items) == 1 else f"{len(items)} files, from {items[0].name} to {items[-1].name},"
    return f"ship {what} to {store.wal.description}"


def unstick_step(path: str) -> str:
    return f"empty {path}, which pg_receivewal could not make on a full disk: it holds nothing, and the receiver would never go on"


def leave_step(items: Sequence[Finished], directory: WalDirectory) -> str:
    what = items[0].name if len(items) == 1 else f"{len(items)} files, from {items[0].name} to {items[-1].name},"
    return f"remove {what} from {directory.path}: each store has them"


def may_pass(exc: HoldfastError, stores: Sequence[ShippingStore]) -> bool:
    """Whether waiting may mend it: a store that is away, or full. Content, ownership and options it does not."""
    return all(store.error is None or isinstance(store.error, RepositoryError) for store in stores) and isinstance(
        exc, (RepositoryError, Incomplete)
    )


def describe(result: ShipResult, stores: Sequence[ShippingStore]) -> dict[str, Any]:
    """For a module's result."""
    return {
        "changed": result.changed,
        "plan": result.plan,
        "shipped": result.shipped,
        "removed": result.removed,
        "stores": [
            {
                "name": store.name,
                "repository": store.repository.description,
                "sent": store.sent,
                "last_segment": store.last,
                "error": str(store.error) if store.error else None,
            }
            for store in stores
        ],
    }
