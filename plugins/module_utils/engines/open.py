# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine makes a backup: its name and its options to what a run needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import ENGINE_OPTIONS
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup import (
    instructions as physical_instructions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.engine import PgBasebackup
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.options import (
    MANIFEST,
    BaseOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump import instructions as dump_instructions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.engine import PgDump
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.options import DumpOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.stream_engine import StreamEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address


@dataclass(frozen=True)
class Choice:
    """An engine that was chosen: the scope of its backups, which kinds make another one needless, what is written into
    RESTORE.txt, and the engine itself, which looks at the server when it is made."""

    name: str
    scope: dict[str, Any]
    enough: Sequence[str]
    instructions: Callable[[Record], str]
    make: Callable[[Sequence[Listing]], StreamEngine]


def choose(params: Mapping[str, Any], space: str, encryption: Encryption) -> Choice:
    """The engine that the options name. ``space`` is a private directory.

    Raises:
        BadOption: an option that is another engine's, or makes no sense.
    """
    name: str = params["engine"]
    check_options(name, params)
    encrypted = encryption.method != "none"
    if name == "pg_basebackup":
        options = BaseOptions.from_params(params)

        def copy(listings: Sequence[Listing]) -> StreamEngine:
            parent = _parent(listings) if options.kind == "incremental" else None

            def read_manifest(record: Record, path: str) -> None:
                _read_manifest(listings[0].shelf, record, encryption, path)

            address = Address(params, space)
            return PgBasebackup(address, options, params["bin_dir"], encrypted, space, parent, read_manifest)

        return Choice(name, options.scope(), options.enough(), physical_instructions.write, copy)
    dump = DumpOptions.from_params(params)
    return Choice(
        name,
        dump.scope(),
        ("logical",),
        dump_instructions.write,
        lambda listings: PgDump(Address(params, space), dump, params["bin_dir"], encrypted, space),
    )


def check_options(engine: str, params: Mapping[str, Any]) -> None:
    """Raise BadOption for an option that only other engines know, and that was given another value than its default."""
    for owner, spec in ENGINE_OPTIONS.items():
        for option, details in spec.items():
            if owner == engine or option in ENGINE_OPTIONS.get(engine, {}):
                continue
            if params.get(option) != details.get("default"):
                raise BadOption(
                    option,
                    params[option],
                    f"is an option of engine {owner}, and engine is {engine}",
                    "Drop one of them.",
                )


def _parent(listings: Sequence[Listing]) -> Optional[Record]:
    """The newest verified backup that an incremental one can be made upon: it, and all that it needs, is in every tier."""
    usable = [
        {record.id: record for record in listing.records if record.engine == "pg_basebackup" and record.verified_at}
        for listing in listings
    ]
    common = {
        backup_id: record for backup_id, record in usable[0].items() if all(backup_id in known for known in usable)
    }

    def whole(record: Record) -> bool:
        return record.parent is None or (record.parent in common and whole(common[record.parent]))

    return max(filter(whole, common.values()), key=lambda record: record.stopped_at, default=None)


def _read_manifest(shelf: Shelf, record: Record, encryption: Encryption, path: str) -> None:
    found = [artifact.key for artifact in record.artifacts if artifact.role == "manifest"]
    if not found:
        raise CatalogError(f"The backup {record.id} has no {MANIFEST}. Take a full backup (kind: full).")
    key = shelf.key(record.id, found[0])
    try:
        stream_of(lambda: shelf.repository.open(key), key, encryption).save(path, lambda made, out: None)
    except HoldfastError as exc:
        raise CatalogError(
            f"The {MANIFEST} of {record.id}, on which an incremental backup is made, cannot be read: {exc} "
            "Take a full backup (kind: full)."
        ) from exc
