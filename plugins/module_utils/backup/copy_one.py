# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup from one repository into another: what of it is copied, verified there, and written down last."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copier import Copier, OnBytes, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.memory import MEMORY
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.rekey import UNCHANGED, Rekey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import verifications
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


def all_steps(record: Record, source: Shelf, target: Shelf) -> list[Step]:
    """All that a backup consists of but its manifest, the instructions last."""
    names = [(artifact.key, artifact.size) for artifact in record.artifacts]
    info = source.repository.stat(source.key(record.id, INSTRUCTIONS))
    names += [(INSTRUCTIONS, info.size)] if info else []
    return [Step(source.key(record.id, name), target.key(record.id, name), size) for name, size in names]


def due_steps(record: Record, source: Shelf, target: Shelf, keys: Rekey) -> list[Step]:
    """What of a backup is to be copied: what is not in the target yet, as an object of the same size is taken for copied, and verified later.
    What is encrypted anew is all made anew."""
    steps = all_steps(record, source, target)
    if keys.encrypts:
        return steps
    there = {item.key: item.size for item in target.repository.list(f"{target.name}/{record.id}")}
    return [step for step in steps if there.get(step.target) != step.size]


def same(there: Optional[Record], record: Record, target: Shelf, keys: Rekey) -> bool:
    """Whether the target has this very backup already, by these passphrases.

    Raises:
        CatalogError: it has another one of that id.
    """
    if there is None:
        return False
    if not keys.stands(there, record):
        raise CatalogError(
            f"{target.repository.description} has another backup {record.id} of {target.name!r}, with other content. Nothing "
            "was copied over it: copy it under another target_server_name."
        )
    return True


def copy_backup(
    record: Record,
    source: Shelf,
    target: Shelf,
    keys: Rekey = UNCHANGED,
    threads: int = 4,
    memory: int = MEMORY,
    on_bytes: OnBytes = lambda done: None,
) -> tuple[Record, int]:
    """Copy one backup, verify it in the target by its manifest's sums, and write instructions and manifest last. Returns its record
    there, and how many objects the store copied by itself.

    Raises:
        CatalogError: what was copied differs from the manifest.
    """
    copier = Copier(source.repository, target.repository, on_bytes, memory, read_back=False)
    steps = due_steps(record, source, target, keys)
    last = [step for step in steps if step.target == target.key(record.id, INSTRUCTIONS)]
    first = [step for step in steps if step not in last]
    by_store = 0
    if keys.encrypts:
        source.verify(record, on_bytes)  # before anything of a damaged copy goes
        if target.repository.stat(target.key(record.id, MANIFEST)) is not None:
            # A damaged one is written over, by other bytes of the same size: until that has ended no manifest may say what is there.
            target.repository.delete(target.key(record.id, MANIFEST))
        copied = keys.encrypt(record, source, target, threads, on_bytes)
    else:
        by_store = copier.run(first, threads)
        copied = record
    copied = replace(copied, server={**record.server, "name": target.name})
    try:
        target.verify(copied, on_bytes)
    except CatalogError:
        # What was there had the right size alone: it is of a copy under another passphrase, or was damaged since.
        passed = [step for step in all_steps(record, source, target) if step not in steps]
        if not passed:
            raise
        source.verify(record, on_bytes)  # else what is bad there comes over what is good here
        by_store += copier.run(passed, threads)
        target.verify(copied, on_bytes)
    # What has instructions is taken for a backup that was complete.
    by_store += copier.run(last, 1)
    copied.verified_at = format_time(utcnow())
    copied.signature = keys.sign(copied, record)
    target.write(copied)
    if target.marks().failure(copied) is not None:  # it was bad here, and is mended
        mended = partial(verifications.good, record=copied, level=verifications.READ_BACK, at=copied.verified_at)
        verifications.change(target.repository, target.name, {record.id: mended})
    return copied, by_store
