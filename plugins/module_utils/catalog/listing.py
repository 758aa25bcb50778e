# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a server's backups in a repository."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.leftovers import sort_out
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf


@dataclass
class Listing:
    """What a look found: the backups, oldest id first; manifests that cannot be used, in complete sentences; folders that
    interrupted runs left, and may go; folders of backups whose manifest is lost (``lost``), or
    cannot be used (``unread``): what those are based on is not known."""

    shelf: Shelf
    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    #: what failed its last verification, with what was wrong, as the end of a sentence
    failed: dict[str, str] = field(default_factory=dict)


def look(shelf: Shelf) -> Listing:
    """Raises RepositoryError: the store cannot be read."""
    listing = Listing(shelf)
    folders: list[str] = []
    listing.records = list(shelf.records(listing.problems, folders, listing.unread, listing.failed))
    if folders:
        found = sort_out(shelf, folders)
        listing.leftovers += found.ids
        listing.lost += found.lost
        listing.unread += found.hidden
        listing.problems += found.problems
    return listing
