# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All objects below a prefix, whoever wrote them, into another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads as pool_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copier import (
    Copier,
    Moved,
    Step,
    refuse_one_place,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import ObjectInfo, Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.identity import same_content
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains

# Of objects that are there already, so many are compared, of at most so many bytes each.
_SOME, _SMALL = 8, 64 * 1024 * 1024


class PrefixRun:
    """All objects below a prefix, whoever wrote them."""

    def __init__(self, source: Repository, target: Repository, threads: int, memory: int, delete_source: bool) -> None:
        self._source, self._target = source, target
        self._threads, self._memory, self._delete = threads, memory, delete_source

    def run(self, check: bool) -> Moved:
        """Plan, and unless ``check``, copy.

        Raises:
            HoldfastError: the source is as it was.
        """
        refuse_one_place(self._source, "", self._target, "", check)
        moved = Moved()
        wanted = {info.key: info for info in self._source.list("")}
        if self._delete and not wanted and next(iter(self._target.list("")), None) is not None:
            moved.warnings.append(
                f"There is nothing in {self._source.description}, and there is something in {self._target.description}: it was taken "
                "for moved already. Where that cannot be, check the source's name, bucket and prefix."
            )
            return moved
        steps = plan_prefix(wanted, self._source, self._target, self._delete)
        if not self._delete:  # else each of them is compared, before any is deleted
            self._compare_some(sorted(set(wanted) - {step.source for step in steps}), wanted)
        moved.add(steps)
        moved.names = [step.source for step in steps]
        where = f"from {self._source.description} to {self._target.description}"
        moved.plan += [f"copy {moved.objects} objects, {moved.size} bytes, {where}"] if steps else []
        moved.plan += [f"delete {len(wanted)} objects in {self._source.description}"] if self._delete else []
        if check or not moved.plan:
            return moved
        if steps:
            self._target.forget_unfinished("")  # of a copy that was killed
        copier = Copier(self._source, self._target, lambda done: None, self._memory)
        # Manifests come last: what is not complete looks like nothing.
        ends = [step for step in steps if step.source.endswith(f"/{MANIFEST}")]
        there = self._target.description

        def copied() -> str:
            return f"{copier.objects} of {len(steps)} objects were copied to {there}; the next run goes on from there."

        with remains(lambda: f"{copied()} In the source all is as it was.", bool(steps)):
            moved.by_store = copier.run([step for step in steps if step not in set(ends)], self._threads)
            moved.by_store += copier.run(ends, self._threads)
        if self._delete:
            # What the store copied by itself nobody here has read.
            self._forget(wanted, set() if moved.by_store else {step.source for step in steps})
        return moved

    def _compare_some(self, keys: Sequence[str], wanted: Mapping[str, ObjectInfo]) -> None:
        """Segments of WAL of all servers have the same names and sizes: some of what is taken for copied already are read from both.

        Raises:
            RepositoryError: one has another content.
        """
        small = [key for key in keys if wanted[key].size <= _SMALL]
        for key in small[:: max(1, len(small) // _SOME)]:
            if not same_content(self._source, key, self._target, key):
                raise RepositoryError(
                    f"{key} has another content in {self._target.description} than in {self._source.description}, though not another "
                    "size: nothing was copied. Is that another server's? Name an empty prefix, or find out which is the right one."
                )

    def _forget(self, wanted: Mapping[str, ObjectInfo], copied: Set[str]) -> None:
        """Delete what was copied, and nothing that came meanwhile. What an earlier run copied, or somebody else, is compared first."""
        there = {info.key: info.size for info in self._target.list("")}
        now = {info.key: info for info in self._source.list("")}
        for key, info in wanted.items():
            if there.get(key) != info.size or (key in now and now[key] != info):
                raise RepositoryError(
                    f"{key} in {self._source.description} changed while it was copied, or is not in the target: nothing was "
                    "deleted. Run it again when nobody writes there."
                )
        with pool_of(self._threads) as pool:
            alike = pool.map(
                lambda key: same_content(self._source, key, self._target, key), sorted(set(wanted) - copied)
            )
            for key, equal in zip(sorted(set(wanted) - copied), alike):
                if not equal:
                    raise RepositoryError(
                        f"{key} has another content in {self._target.description} than in {self._source.description}, though not "
                        "another size: nothing was deleted. Find out which is the right one."
                    )
            with remains(
                f"All {len(wanted)} objects are in {self._target.description}, compared; some of them were deleted in "
                f"{self._source.description}, and the next run deletes the rest."
            ):
                # Manifests go first: what is half gone then looks like nothing, and not like a damaged backup.
                ends = [key for key in wanted if key.endswith(f"/{MANIFEST}")]
                list(pool.map(self._source.delete, ends))
                list(pool.map(self._source.delete, [key for key in wanted if key not in set(ends)]))


def plan_prefix(
    wanted: Mapping[str, ObjectInfo], source: Repository, target: Repository, moving: bool = False
) -> list[Step]:
    """Every object below the source's prefix that the target lacks. ``moving``: where the target has all of them, what else it has came
    from there too, by a move that was stopped while it deleted.

    Raises:
        RepositoryError: there is nothing to copy, or the target has something else already.
    """
    if not wanted:
        raise RepositoryError(f"There is nothing in {source.description}: check its name, its bucket and its prefix.")
    there = {info.key: info for info in target.list("")}
    other = {key for key, info in there.items() if key in wanted and info.size != wanted[key].size}
    half_moved = moving and set(wanted) <= set(there) and not other
    strange = sorted(other if half_moved else other | (set(there) - set(wanted)))
    if strange:
        raise RepositoryError(
            f"{target.description} is not empty: it has {len(strange)} objects that are not in the source, {strange[0]} among "
            "them. Name an empty prefix. (What an interrupted copy left there would be gone on from.)"
        )
    missing = [info for key, info in sorted(wanted.items()) if key not in there or there[key].modified < info.modified]
    return [Step(info.key, info.key, info.size) for info in missing]
