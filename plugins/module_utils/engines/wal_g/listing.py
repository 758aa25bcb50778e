# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What WAL-G says, in our words: its listing of backups as records, its dry runs as names, the sentinel of a backup. Pure.

Fields: ``wal-g backup-list --detail --json``. A backup's name is ``base_`` and the segment that it starts in; one that needs
another has ``_D_`` and that one's segment behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    BACKUP,
    NOTE,
    PARTIAL,
    SEGMENT,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

_LABEL = re.compile("base_([0-9A-F]{24})(?:_D_([0-9A-F]{24}))?(?:_[0-9A-F]{8,16})?")
# What a dry run says of each object that it would delete: up to 3.0.7, 3.0.8 and from 3.0.9 on.
_DOOMED = (
    re.compile(r"\bwill be deleted:\s*(\S+?)(?:, from storage: \S+)?$"),
    re.compile(r"\bObject marked for deletion: (\S+)(?: storage=\S+)?$"),
)
_COUNTED = re.compile(r"\bobjects would be deleted count=(\d+)")
# Only the key of an object has one of these in it: in whatever words, the line is of one.
_OBJECT = re.compile(r"_backup_stop_sentinel\.json|/files_metadata\.json|/tar_partitions/|\bwal_005/")


def records(output: str, server_name: str, lost: dict[str, str]) -> list[Record]:
    """The backups of a listing, oldest first. Those that cannot be read go to ``lost``, by label, and are left out.

    Raises:
        CatalogError: it is no listing.
    """
    try:
        # Versions before 3 write nothing at all when there are none.
        entries = json.loads(output.strip() or "[]") or []
        found = {str(entry["backup_name"]): entry for entry in entries}
    except (ValueError, KeyError, TypeError) as exc:
        raise CatalogError(f"WAL-G's list of backups cannot be read ({exc.__class__.__name__}: {exc}).") from exc
    by_segment = {match[1]: label for label in found if (match := _LABEL.fullmatch(label))}
    made = []
    for label, entry in found.items():
        try:
            made.append(_record(label, entry, server_name, by_segment))
        except (KeyError, ValueError, TypeError, BadOption) as exc:
            lost[label] = f"WAL-G's backup {label} cannot be read ({exc.__class__.__name__}: {exc})."
    return sorted(made, key=lambda record: (record.started_at, record.id))


def _record(label: str, entry: Mapping[str, Any], server_name: str, by_segment: Mapping[str, str]) -> Record:
    name = _LABEL.fullmatch(label)
    if name is None:
        raise ValueError("its name says neither where it begins nor what it needs")
    needs = name[2]
    ours = _notes(entry.get("user_data"))
    begun, ended = (parse_time(str(entry[field]), field) for field in ("start_time", "finish_time"))
    # Rounded up: a moment before the copy's end cannot be reached from it.
    reached = ended + timedelta(microseconds=-ended.microsecond % 1_000_000)
    version, system_id = int(entry["pg_version"]), entry.get("system_identifier")
    return Record(
        id=label,
        engine="wal_g",
        kind=(ours.get("kind") or "incremental") if needs else "full",
        engine_version="",  # WAL-G does not tell which version made it
        server={
            "name": server_name,
            "system_id": None if system_id is None else str(system_id),
            "version": f"{version // 10000}.{version % 10000}",
            "version_num": version,
            "timeline": int(name[1][:8], 16),
            "in_recovery": None,
            "data_directory": entry.get("data_dir"),
        },
        started_at=format_time(begun),
        stopped_at=format_time(ended),
        start_lsn=str(Lsn(int(entry["start_lsn"]))),
        stop_lsn=str(Lsn(int(entry["finish_lsn"]))),
        # Of one upon another WAL-G counts what changed, which is not the size of the database.
        scope={
            "cluster": True,
            "size": None if needs else entry.get("uncompressed_size"),
            "stored": entry.get("compressed_size"),
        },
        consistency=consistency_of_a_copy(reached),
        databases=[],
        compression={"method": None, "level": None},
        encryption={"method": None, "recipients": []},
        artifacts=[],
        created_by=str(entry.get("hostname") or ""),
        parent=by_segment.get(needs, f"base_{needs}") if needs else None,
        pinned=bool(entry.get("is_permanent")),
        annotations={str(key): str(value) for key, value in (ours.get("annotations") or {}).items()},
    )


def is_label(name: str) -> bool:
    """Whether a folder's name is that of a backup."""
    return _LABEL.fullmatch(name) is not None


def notes(kind: str, annotations: Mapping[str, str]) -> str:
    """What we have WAL-G keep with a backup (its user data): the kind, as a differential one looks like an incremental one
    there, and the annotations."""
    return json.dumps({"holdfast": {"kind": kind, "annotations": dict(annotations)}}, ensure_ascii=False)


def _notes(user_data: Any) -> Mapping[str, Any]:
    ours = user_data.get("holdfast") if isinstance(user_data, dict) else None
    return ours if isinstance(ours, dict) else {}


def doomed(said: str) -> list[str]:
    """The keys of the objects that a dry run of ``delete`` lists, as WAL-G writes them: from its folder of backups on, or ``wal_005/``.

    Raises:
        CatalogError: it lists them in words that are not known here, or says another number of them.
    """
    keys = []
    for line in said.splitlines():
        found = next((match for pattern in _DOOMED if (match := pattern.search(line.rstrip()))), None)
        if found:
            keys.append(found[1])
        elif _OBJECT.search(line):
            raise CatalogError(f"it says what it would delete in words that are not known here: {line.strip()!r}")
    counted = _COUNTED.search(said)
    if counted and int(counted[1]) != len(keys):
        raise CatalogError(f"it says that it would delete {counted[1]} objects, and names {len(keys)}")
    return keys


def doomed_backups(said: str) -> set[str]:
    """The backups whose objects a dry run of ``delete target`` lists. Raises CatalogError."""
    return {match[0] for key in doomed(said) if (match := _LABEL.search(key))}


def doomed_wal(said: str) -> list[str]:
    """The names of files that a dry run of ``delete garbage`` lists. Raises CatalogError."""
    return [key.rpartition("/")[2] for key in doomed(said)]


def needed(name: str, kept: Iterable[Record], size: SegmentSize) -> bool:
    """Whether a file of the archive can be needed to restore one of the backups: its own timeline or a later one, which may
    come of it, from its first segment on. What is no segment counts as needed."""
    file = classify(name, size)
    if file.kind not in (SEGMENT, PARTIAL, BACKUP, NOTE):
        return True
    starts = (first_segment(record, size) for record in kept)
    return any(first.timeline <= file.timeline and first.number <= file.number for first in starts)


def first_segment(record: Record, size: SegmentSize) -> Segment:
    """The segment that a backup starts in."""
    return size.parse(record.id[5:29], "backup")


def restore_spec(
    sentinel: Mapping[str, Any], directory: str, tablespaces: Mapping[str, str]
) -> Optional[dict[str, Any]]:
    """Where the tablespaces of a backup go (``backup-fetch --restore-spec``); None when it has none. Without one WAL-G would
    link them in the data directory that they came from.

    Raises:
        BadOption: an old location is none of the backup's.
    """
    spec = sentinel.get("Spec") or {}
    names = spec.get("tablespaces") or []
    there = [spec[name]["loc"] for name in names]
    for old in tablespaces:
        if old.rstrip("/") not in there:
            known = f"It has: {', '.join(there)}." if there else "It has none."
            raise BadOption("tablespaces", old, "is no location of a tablespace of the backup", known)
    if not names:
        return None
    chosen = {old.rstrip("/"): new for old, new in tablespaces.items()}
    links = {
        name: {"loc": chosen.get(spec[name]["loc"], spec[name]["loc"]), "link": spec[name]["link"]} for name in names
    }
    return {"base_prefix": directory, "tablespaces": names, **links}
