# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of one server from one repository into another, verified there; a chain is one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copier import Moved, refuse_one_place
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_one import copy_backup, due_steps, same
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.rekey import UNCHANGED, Rekey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import verifications
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, chain, links, may_be_needed
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order, latest_whole
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import damage, lacking
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import ANY, Reading, readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import achieved, remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


class CopyRun:
    """Backups of one server, oldest first."""

    def __init__(
        self,
        source: Shelf,
        target: Shelf,
        ids: Sequence[str],
        threads: int,
        memory: int,
        delete_source: bool,
        lock_wait: int,
        keys: Rekey = UNCHANGED,
    ) -> None:
        self._source, self._target, self._ids, self._keys = source, target, ids, keys
        self._threads, self._memory, self._delete, self._lock_wait = threads, memory, delete_source, lock_wait
        #: what is bad in the target, and no copy would mend
        self._unmended: set[str] = set()

    def run(self, check: bool) -> Moved:
        """Plan, and unless ``check``, copy.

        Raises:
            HoldfastError: nothing in the source was deleted that is not verified in the target.
        """
        refuse_one_place(self._source.repository, self._source.name, self._target.repository, self._target.name, check)
        moved = Moved()
        wanted = self._wanted(moved)
        due = [record for record in wanted if not self._stands(record, moved.warnings)]
        for record in due:
            self._keys.check(record, self._source, self._target)
            steps = due_steps(record, self._source, self._target, self._keys)
            moved.add(steps)
            how = "encrypted by the other passphrase, verified" if self._keys.encrypts else "verified"
            moved.plan.append(
                f"copy {record.id}, {len(steps)} objects, {sum(step.size for step in steps)} bytes, {how}"
            )
        moved.names = [record.id for record in due]
        doomed = self._doomed(wanted, moved.warnings) if self._delete else []
        moved.plan += [f"delete {record.id} in {self._source.repository.description}" for record in doomed]
        if check or not moved.plan:
            return moved
        with ExitStack() as held:
            locks = [shelf.lock("a copy", moved.warnings) for shelf in self._locked()]
            for lock in locks:
                held.enter_context(lock).acquire(self._lock_wait)
            self._copy(due, moved, locks)
            refresh(self._target.repository, self._target.name, NAME)
            if doomed:
                self._forget(self._still_doomed(doomed, moved.warnings), moved, locks)
        return moved

    def _locked(self) -> list[Shelf]:
        return [self._target] + ([self._source] if self._delete else [])

    def _copy(self, due: Sequence[Record], moved: Moved, locks: Sequence[Lock]) -> None:
        done: list[str] = []

        def beat(_done: int) -> None:
            for lock in locks:
                lock.beat()

        reading = Reading(self._source, moved.names, "a copy", moved.warnings)
        with reading if due else nullcontext(), remains(lambda: self._copied(moved.names, done), bool(due)):
            for record in due:
                # What a copy that was killed left lying there; under the lock nobody else is at it.
                self._target.repository.forget_unfinished(f"{self._target.name}/{record.id}")
                moved.by_store += copy_backup(
                    record, self._source, self._target, self._keys, self._threads, self._memory, beat
                )[1]
                done.append(record.id)
        if done:
            achieved(f"Copied to {self._target.repository.description}, and verified: {', '.join(done)}.")

    def _copied(self, names: Sequence[str], done: Sequence[str]) -> str:
        """What a stop in the middle of copying leaves."""
        if not names:
            return ""
        where = self._target.repository.description
        said = [f"Copied to {where}, and verified: {', '.join(done)}."] if done else []
        if len(done) < len(names):
            said.append(
                f"Of {names[len(done)]} there may be a part in {where}: without a manifest it is no backup, and the next copy goes on from there."
            )
        return " ".join([*said, "In the source all is as it was."])

    def _still_doomed(self, doomed: Sequence[Record], warnings: list[str]) -> list[Record]:
        """Looked at again, under the lock: meanwhile one was pinned, or is what a new backup is based on, or somebody reads it."""
        ids = {record.id for record in doomed}
        listed = by_id(self._source.records([]))
        read = readers(self._source)
        if doomed and ANY in read:
            warnings.append(f"Nothing is deleted in the source: it is being read by {read[ANY]}.")
            return []
        busy: set[str] = set()
        for name in ids & set(read):
            if name in listed:  # what one that is read is based on is read too
                busy.update(link.id for link in links(listed[name], listed.get))
            warnings.append(f"{name} stays in the source: it is being read by {read[name]}.")
        free = [record for record in doomed if record.id not in busy]
        still = {record.id for record in self._doomed([listed.get(record.id, record) for record in free], warnings)}
        return [record for record in doomed if record.id in still]

    def _forget(self, doomed: Sequence[Record], moved: Moved, locks: Sequence[Lock]) -> None:
        """Delete in the source what is in the target."""
        gone: list[str] = []
        now: list[str] = []
        with remains(lambda: self._forgotten(gone, now)):
            for record in doomed:
                for lock in locks:
                    lock.beat()
                if record.id not in moved.names:  # copied by an earlier run: who knows what happened to it since
                    self._target.verify(self._target.get(record.id))
                now[:] = [record.id]
                self._source.remove(record.id)
                gone.append(record.id)
        if gone:
            achieved(f"Deleted in the source: {', '.join(gone)}.")

    def _forgotten(self, gone: Sequence[str], now: Sequence[str]) -> str:
        """What a stop in the middle of deleting leaves."""
        said = [f"All that was to be copied is in {self._target.repository.description}, verified."]
        said += [f"Deleted in the source: {', '.join(gone)}."] if gone else []
        if now and now[0] not in gone:
            said.append(
                f"{now[0]} was being deleted there: if its manifest is gone, the next run there removes the rest, or names it."
            )
        return " ".join(said)

    def _stands(self, record: Record, warnings: list[str]) -> bool:
        """Whether the target has this backup, whole as far as presence and size tell: one that is damaged there is copied again.

        Raises:
            CatalogError: it has another one of that id.
        """
        there = self._target.read(record.id)
        if there is None or not same(there, record, self._target, self._keys):
            return False
        wrong = damage(self._target, there)
        if wrong and self._is_so_in_the_source(there):
            self._unmended.add(record.id)
            warnings.append(
                f"{record.id} in {self._target.repository.description} is bad, and another copy would be no better: {wrong}. By its sums it is what the "
                "source has. Nothing of it was copied or deleted."
            )
            return True
        if wrong:
            warnings.append(
                f"{record.id} is damaged in {self._target.repository.description}, and copied again: {wrong}."
            )
        return wrong is None

    def _is_so_in_the_source(self, there: Record) -> bool:
        """Whether what is wrong was seen by a look at the content, the sums of which were right: a copy has what its source has."""
        mark = self._target.marks().of(there)
        if mark is None or mark.failure is None:
            return False
        return verifications.READ_BACK not in verifications.at_least(mark.failure.level) and not lacking(
            self._target, there
        )

    def _wanted(self, moved: Moved) -> list[Record]:
        """What is asked for, and all that it is based on, the oldest first: a chain is one thing."""
        unread: list[str] = []
        failed: dict[str, str] = {}
        found = list(self._source.records(moved.warnings, unread=unread, failed=failed))
        where = f"{self._source.name} in {self._source.repository.description}"
        if not self._ids or "latest" in self._ids:
            moved.unread = unread
        if unread and not found:
            raise CatalogError(
                f"No manifest in {where} can be read, and nothing was copied. {' '.join(moved.warnings)}"
            )
        if not found and self._delete and self._was_moved():
            moved.warnings.append(
                f"There is no backup of {self._source.name!r} in {self._source.repository.description}: taken for moved already, as "
                f"{self._target.repository.description} has them."
            )
            return []
        if not found:
            raise CatalogError(
                f"There is no backup of {self._source.name!r} in {self._source.repository.description}. "
                f"{self._source.say_if_unknown() or 'Check its name.'} "
                "(What an engine with a repository of its own keeps there is copied by what: prefix.)"
            )
        known = by_id(self._trusted(self._in_repository(found, moved.warnings), failed, moved.warnings))
        found = list(known.values())
        if not self._ids:
            return [record for record in in_order(found) if self._is_there(record, known, moved.warnings)]
        wanted: dict[str, Record] = {}
        for backup_id in self._ids:
            one = latest_whole(found, utcnow(), where) if backup_id == "latest" else self._source.get(backup_id)
            wanted.update((link.id, link) for link in chain(one, known))
        return [record for record in in_order(found) if record.id in wanted]

    def _was_moved(self) -> bool:
        """Whether the target has what an earlier run may have moved there."""
        named = [name for name in self._ids if name != "latest"]
        return all(self._target.read(name) for name in named) and bool(named or any(self._target.records([])))

    def _in_repository(self, found: Sequence[Record], warnings: list[str]) -> list[Record]:
        """Those whose content is in the repository. Of others a copy would be a record of what its source deletes. Raises CatalogError."""
        elsewhere = [record.id for record in found if record.engine in ELSEWHERE]
        named = sorted(set(elsewhere) & set(self._ids))
        if named:
            raise CatalogError(
                f"{', '.join(named)} is of volume snapshots, which stay in their storage: there is nothing to copy. Nothing was copied."
            )
        if elsewhere and not self._ids:
            warnings.append(
                f"Not copied, as they are of volume snapshots, which stay in their storage: {', '.join(sorted(elsewhere))}."
            )
        return [record for record in found if record.engine not in ELSEWHERE]

    def _trusted(self, found: Sequence[Record], failed: Mapping[str, str], warnings: list[str]) -> list[Record]:
        """Those that did not fail their last verification: a copy would be as good as its source, and would not say so. Raises CatalogError."""
        named = sorted(set(failed) & set(self._ids))
        if named:
            raise CatalogError(
                f"The backup {named[0]} is not copied: {failed[named[0]]}. Nothing was copied. Verify it again (backup_verify): where it is good, that "
                "takes the mark away; or copy the objects as they are by what: prefix."
            )
        warnings.extend(f"The backup {name} was not copied: {wrong}." for name, wrong in failed.items())
        return [record for record in found if record.id not in failed]

    @staticmethod
    def _is_there(record: Record, known: Mapping[str, Record], warnings: list[str]) -> bool:
        """Whether a backup of all can be copied."""
        try:
            return bool(chain(record, known))
        except CatalogError as exc:
            warnings.append(f"{exc} It was not copied.")
            return False

    def _doomed(self, wanted: Sequence[Record], warnings: list[str]) -> list[Record]:
        """What goes from the source, children first: nothing that is pinned, or that one which stays is based on."""
        going = {record.id for record in wanted if not record.pinned and record.id not in self._unmended}
        if pinned := sorted(record.id for record in wanted if record.pinned):
            warnings.append(f"{', '.join(pinned)} stays in {self._source.repository.description}: it is pinned.")
        unread: list[str] = []
        listed = list(self._source.records([], unread=unread))
        if needed := sorted(record.id for record in wanted if record.id in going and may_be_needed(record, unread)):
            warnings.append(
                f"{', '.join(needed)} stays in {self._source.repository.description}: {', '.join(unread)} there may be based on it, and has no "
                "manifest that can be read."
            )
            going -= set(needed)
        while stay := {str(item.parent) for item in listed if item.id not in going and item.parent in going}:
            warnings.extend(
                f"{name} stays in {self._source.repository.description}: others there are based on it." for name in stay
            )
            going -= stay
        return [record for record in reversed(wanted) if record.id in going]
