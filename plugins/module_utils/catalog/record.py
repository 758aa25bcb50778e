# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one backup, the same for every engine, and its form as a manifest. Pure.

The format is described for users in docs/manifest.md and docs/manifest.schema.json.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field, fields
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.bounded import loads
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.schema import check
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, DamagedManifest
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time

FORMAT = 1


@dataclass(frozen=True)
class Artifact:
    """One object of a backup.

    ``key`` is relative to the backup's folder; ``size`` and ``sha256`` are of what is stored; ``raw_size`` is
    the bytes before compression and encryption (None: unknown).
    ``role``: ``database``, ``globals``, ``cluster`` of a dump; ``base``, ``tablespace``, ``manifest``, ``configuration``,
    ``cluster`` of a copy of the server.
    """

    key: str
    role: str
    size: int
    sha256: str
    raw_size: Optional[int] = None
    database: Optional[str] = None


def consistency_of_a_copy(reached: datetime.datetime, self_contained: bool = False) -> dict[str, Any]:
    """What a record says of a copy of a whole server's files: ``reached`` is the earliest moment that it can be recovered to,
    ``self_contained`` whether it holds the WAL that this takes."""
    return {
        "within_database": "physical",
        "across_databases": "same moment",
        "reached_at": format_time(reached),
        "self_contained": self_contained,
    }


@dataclass
class Record:
    """One restorable set. Times are ISO 8601 in UTC, sizes bytes, LSNs as PostgreSQL writes them."""

    id: str
    engine: str
    kind: str
    engine_version: str
    server: dict[str, Any]
    started_at: str
    stopped_at: str
    start_lsn: Optional[str]
    stop_lsn: Optional[str]
    scope: dict[str, Any]
    consistency: dict[str, Any]
    databases: list[dict[str, Any]]
    compression: dict[str, Any]
    encryption: dict[str, Any]
    artifacts: list[Artifact]
    created_by: str
    parent: Optional[str] = None
    verified_at: Optional[str] = None
    drilled_at: Optional[str] = None
    pinned: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    #: made of the passphrase: pipeline/signature.py
    signature: Optional[dict[str, str]] = None

    @property
    def size(self) -> int:
        """Bytes in the repository, without manifest and instructions."""
        return sum(artifact.size for artifact in self.artifacts)

    @property
    def raw_size(self) -> Optional[int]:
        """Bytes before compression; None where any artifact's is unknown."""
        sizes = [artifact.raw_size for artifact in self.artifacts]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def to_dict(self) -> dict[str, Any]:
        """The record as users get it: without the signature, by which who reads a log of theirs could try passphrases."""
        # Not by asdict, which copies all that is inside: that takes longer than the rest of a listing of thousands.
        artifacts = [dict(vars(artifact)) for artifact in self.artifacts]
        values = {name: value for name, value in vars(self).items() if name != "signature"}
        return {"format": FORMAT, **values, "artifacts": artifacts, "size": self.size, "raw_size": self.raw_size}


def has_same_content(one: Record, other: Record) -> bool:
    """Whether two of one id are the same backup: by their artifacts' sums. Repositories can have different ones of an id."""
    return sorted((item.key, item.sha256) for item in one.artifacts) == sorted(
        (item.key, item.sha256) for item in other.artifacts
    )


_LEVELS = 12  # of brackets; ours have four
_RECORD = frozenset(item.name for item in fields(Record))
_ARTIFACT = tuple(item.name for item in fields(Artifact))


def encode(record: Record) -> bytes:
    """A manifest."""
    return (
        json.dumps({**record.to_dict(), "signature": record.signature}, indent=1, ensure_ascii=False, sort_keys=False)
        + "\n"
    ).encode()


def decode(data: bytes, where: str) -> Record:
    """A record out of a manifest; ``where`` names it in messages.

    Raises:
        DamagedManifest: it is damaged.
        CatalogError: it is of a newer format.
    """
    try:
        content = loads(data, _LEVELS)
        if not isinstance(content, dict):
            raise TypeError("it is not a JSON object")
        version = content.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise CatalogError(
                f"The manifest {where} has format {version}; this version of holdfast.postgres reads up to {FORMAT}. "
                "Update the collection, or restore by hand with the RESTORE.txt beside it."
            )
        values = {name: value for name, value in content.items() if name in _RECORD}
        check(content)
        values["artifacts"] = [Artifact(**{name: entry[name] for name in _ARTIFACT}) for entry in content["artifacts"]]
        return Record(**values)
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedManifest(
            f"The manifest {where} is damaged ({exc.__class__.__name__}: {exc}). Its backup is not trusted; the artifacts "
            "may still be good: see the RESTORE.txt beside it, or use another backup."
        ) from exc
