# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the places that a run keeps a backup in: our folder in a repository."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.tee import Branch
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy


class Tier(Branch):
    """One of the repositories of a run, with a policy of its own, and what the run found and did there."""

    def __init__(self, name: str, shelf: Shelf, policy: Policy) -> None:
        super().__init__(shelf.repository)
        self.name, self.shelf, self.policy = name, shelf, policy
        self.listing = Listing(shelf)
        #: the backup that makes another one needless, or that was made
        self.record: Optional[Record] = None
        self.decisions: list[Decision] = []
        self.pruned: list[dict[str, Any]] = []

    def describe(self) -> dict[str, Any]:
        """For the result."""
        return {
            "name": self.name,
            "repository": self.shelf.repository.description,
            "backup": self.record.id if self.record and not self.error else None,
            "error": str(self.error) if self.error else None,
            "pruned": self.pruned,
        }
