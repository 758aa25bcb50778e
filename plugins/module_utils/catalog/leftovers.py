# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What interrupted runs left, told from what only looks so. An absence is a question: a listing may be cut short, lag behind, or come
from something else than the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST, indexed
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, Shelf

#: more folders without a manifest than interrupted runs leave, as each run cleans up after the one before
MOST = 10


@dataclass(frozen=True)
class Leftovers:
    """``ids`` may go; ``problems`` says, in sentences, of others why they stay. ``lost`` are those that were backups
    once, ``hidden`` those that are."""

    ids: Sequence[str]
    problems: Sequence[str]
    lost: Sequence[str] = ()
    hidden: Sequence[str] = ()


def sort_out(shelf: Shelf, folders: Collection[str]) -> Leftovers:
    """Look at each folder that a listing shows without a manifest. What has instructions was complete once: they are written when all
    else is verified, and go right after the manifest. Raises RepositoryError."""
    ids: list[str] = []
    lost: list[str] = []
    problems: list[str] = []
    where = shelf.repository.description
    hidden = [name for name in folders if shelf.repository.stat(shelf.key(name, MANIFEST)) is not None]
    if hidden:
        # Who hides some hides others, and what is not listed cannot be told from what is not there.
        return Leftovers(
            [],
            [
                f"The listing of {where} does not show the manifest of {', '.join(sorted(hidden))}, which is there: it is not "
                "complete. Nothing is taken for what an interrupted run left; look at the store, or at what stands before it."
            ],
            hidden=hidden,
        )
    once = indexed(shelf.repository, shelf.name) if folders and shelf.repository.remote else set()
    for name in folders:
        if name in once or shelf.repository.stat(shelf.key(name, INSTRUCTIONS)) is not None:
            lost.append(name)
            problems.append(
                f"The backup {name} in {where} was complete once, and its manifest is gone (or its run was killed just before it wrote that). What is left "
                "of it stays: bring the manifest back (a version that the store keeps), or delete it (pg_backup with its backup_id and state: absent)."
            )
        else:
            ids.append(name)
    if len(ids) > MOST:
        problems.append(
            f"{len(ids)} folders of {shelf.name} in {where} have no manifest ({', '.join(sorted(ids)[:3])}, …). That is more than "
            "interrupted runs leave, so they stay: were manifests deleted, or are they hidden? Delete what is not wanted by hand "
            "(pg_backup with its backup_id and state: absent)."
        )
        ids = []
    return Leftovers(ids, problems, lost)
