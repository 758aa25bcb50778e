# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What barman-cloud says and keeps, in our words: its listing as records, its dry run as names, its log as steps. Pure.

Fields: ``barman-cloud-backup-list --format json`` from version 3.12 on, and Barman's backup.info. The objects of a backup are
``<server>/base/<id>/``: ``backup.info``, ``data.tar`` and ``<oid>.tar`` of each tablespace with ``_0001`` and so on for further
parts and ``.gz``, ``.bz2``, ``.snappy`` or ``.lz4``, and ``annotations/keep`` of one that is to be kept.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    BACKUP,
    PARTIAL,
    SEGMENT,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

_LOG = re.compile(r"\S+ \S+ \[\d+\] (?P<level>[A-Z]+): (?P<message>.*)")
_ARCHIVE = re.compile(r"(?P<name>data|\d+)(?:_(?P<part>\d+))?\.tar(?:\.(?P<suffix>\w+))?")
# A method packs so many bytes into one at most; of the others nothing is known. https://www.zlib.net/zlib_tech.html
_DENSEST = {"none": 2, "gzip": 1040, "lz4": 260, "snappy": 30}
_SMALLEST = {"none": 1024}  # bytes of a tar archive with nothing in it
_PACKED = 20  # the same, compressed
_METHODS = {None: "none", "gz": "gzip", "bz2": "bzip2", "lz4": "lz4", "snappy": "snappy"}
#: of a Barman server's backups, copied here by its hook, too
#: the object that Barman knows a backup by; written as a backup begins, and anew as it ends (by older versions only then)
DESCRIPTION = "backup.info"
_WHOLE = ("DONE", "WAITING_FOR_WALS")
_EMPTY = "EMPTY"
_UNFINISHED = ("FAILED", "STARTED", _EMPTY)
WAITING = "waiting for the WAL of the backup to be archived"


@dataclass
class Kept:
    """What lies in the store for a backup: bytes, compression, which archives, and whether Barman is to keep it."""

    stored: int = 0
    method: Optional[str] = None
    #: bytes of each part, by archive and number
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    pinned: bool = False
    #: whether there is a ``backup.info``
    described: bool = False

    @property
    def archives(self) -> frozenset[str]:
        return frozenset(self.parts)

    def wrong(self, size: Optional[int]) -> Optional[str]:
        """What is wrong with the parts of a backup of ``size`` bytes (None: unknown), as far as their names and sizes tell."""
        for name, parts in sorted(self.parts.items()):
            gaps = sorted(set(range(max(parts) + 1)) - set(parts))
            if gaps:
                return f"part {gaps[0]} of {name} (.tar) is not in the store, and part {max(parts)} is"
            least = _SMALLEST.get(self.method or "none", _PACKED)
            empty = next((number for number, held in sorted(parts.items()) if held < least), None)
            if empty is not None:
                return f"part {empty} of {name} (.tar) has {parts[empty]} bytes, which is no archive"
        held, densest = sum(sum(parts.values()) for parts in self.parts.values()), _DENSEST.get(self.method or "none")
        if size and densest and held * densest < size:
            return f"its archives have {held} bytes, too few for a server of {size}"
        return None


def kept(objects: Iterable[tuple[str, int]]) -> dict[str, Kept]:
    """By backup, from keys (from ``<id>/`` on) and sizes."""
    found: dict[str, Kept] = {}
    for key, size in objects:
        label, _slash, rest = key.partition("/")
        entry = found.setdefault(label, Kept())
        entry.stored += size
        entry.pinned = entry.pinned or rest == "annotations/keep"
        entry.described = entry.described or rest == DESCRIPTION
        archive = _ARCHIVE.fullmatch(rest)
        if archive:
            entry.parts.setdefault(archive["name"], {})[int(archive["part"] or 0)] = size
            entry.method = _METHODS.get(archive["suffix"])
    return found


def unlisted(output: str, objects: Mapping[str, Kept]) -> list[tuple[str, Kept]]:
    """What has archives in the store, and is not in a listing, or with nothing known of it: Barman leaves out what has no ``backup.info`` that it can
    read. Raises CatalogError."""
    known = {str(entry.get("backup_id")) for entry in _entries(output) if entry.get("status") != _EMPTY}
    return [(label, lies) for label, lies in sorted(objects.items()) if lies.parts and label not in known]


def undescribed(label: str, lies: Kept) -> str:
    """What is wrong with one of those."""
    if lies.described:
        return f"Barman's backup {label} cannot be restored: its {DESCRIPTION} cannot be read."
    return (
        f"Barman's backup {label} cannot be restored: there are archives of it, and no {DESCRIPTION}, without which Barman does not know it. (An older "
        "Barman writes that as a backup ends: then it is being made, or was interrupted, and its folder can be deleted.)"
    )


def records(
    output: str,
    server_name: str,
    objects: Optional[Mapping[str, Kept]],
    problems: list[str],
    lost: dict[str, str],
) -> list[Record]:
    """The backups of a listing, oldest first. Those that are not finished or failed go to ``problems``, and those that lost a part or cannot be
    read to ``lost``, by label, and are left out. ``objects`` None: what lies in the store is not known.

    Raises:
        CatalogError: it is no listing.
    """
    entries = _entries(output)
    made = []
    for entry in entries:
        label = str(entry.get("backup_id"))
        lies = Kept() if objects is None else objects.get(label, Kept())
        if label in lost:
            continue
        problem = _problem(entry)
        if problem:
            problems.append(f"Barman's backup {label} {problem}")
            continue
        wrong = _lacking(entry, lies) if objects is not None else None
        if wrong:
            lost[label] = f"Barman's backup {label} cannot be restored: {wrong}."
            continue
        try:
            made.append(_record(label, entry, server_name, lies, objects is not None))
        except (KeyError, ValueError, TypeError, BadOption) as exc:
            lost[label] = f"Barman's backup {label} cannot be read ({exc.__class__.__name__}: {exc})."
    return sorted(made, key=lambda record: (record.started_at, record.id))


def leftovers(output: str) -> set[str]:
    """The labels of a listing that are of no backup: they failed, or were not finished. Raises CatalogError."""
    return {str(entry.get("backup_id")) for entry in _entries(output) if entry.get("status") in _UNFINISHED}


def _entries(output: str) -> list[dict[str, Any]]:
    try:
        return [dict(entry) for entry in json.loads(output)["backups_list"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise CatalogError(f"barman-cloud's list of backups cannot be read ({exc.__class__.__name__}: {exc}).") from exc


def _problem(entry: Mapping[str, Any]) -> Optional[str]:
    """Why it never was one that can be restored from here."""
    status = entry.get("status")
    if status == "FAILED":
        return f"failed: {entry.get('error') or 'it does not say why'}."
    if status not in _WHOLE:
        return f"is not finished (its status is {status}): it is being made, or was interrupted."
    if entry.get("snapshots_info"):
        return "is made of snapshots of disks: restore it by its provider's means."
    return None


def _lacking(entry: Mapping[str, Any], lies: Kept) -> Optional[str]:
    """What a finished one lacks in the store, as far as names and sizes tell."""
    wanted = {"data", *(str(oid) for _name, oid, _location in entry.get("tablespaces") or ())}
    if wanted - lies.archives:
        return f"{', '.join(sorted(wanted - lies.archives))} (.tar) of it is not in the store"
    return lies.wrong(int(entry["cluster_size"]) if entry.get("cluster_size") else None)


def _record(label: str, entry: Mapping[str, Any], server_name: str, lies: Kept, known: bool) -> Record:
    begun, ended = (parse_time(str(entry[field]), field) for field in ("begin_time_iso", "end_time_iso"))
    # Rounded up: a moment before the copy's end cannot be reached from it.
    reached = ended + timedelta(microseconds=-ended.microsecond % 1_000_000)
    version, system_id, parent = int(entry["version"]), entry.get("systemid"), entry.get("parent_backup_id")
    source = re.search(r"BACKUP FROM: (\w+)", str(entry.get("backup_label")))
    size = entry.get("cluster_size") or entry.get("size")
    name = entry.get("backup_name")
    return Record(
        id=label,
        engine="barman_cloud",
        kind="incremental" if parent else "full",
        engine_version="",  # Barman does not tell which version made it
        server={
            "name": server_name,
            "system_id": None if system_id is None else str(system_id),
            "version": f"{version // 10000}.{version % 10000}",
            "version_num": version,
            "timeline": int(entry["timeline"]),
            "in_recovery": None if source is None else source[1] != "primary",
            "wal_segment_size": int(entry["xlog_segment_size"]),
            "data_directory": entry.get("pgdata"),
            "tablespaces": [
                {"oid": int(oid), "name": str(space), "location": str(location)}
                for space, oid, location in entry.get("tablespaces") or ()
            ],
        },
        started_at=format_time(begun),
        stopped_at=format_time(ended),
        start_lsn=str(Lsn.parse(str(entry["begin_xlog"]), "begin_xlog")),
        stop_lsn=str(Lsn.parse(str(entry["end_xlog"]), "end_xlog")),
        scope={
            "cluster": True,
            "size": None if size is None else int(size),
            "stored": lies.stored if known else None,
        },
        consistency=consistency_of_a_copy(reached),
        databases=[],
        compression={"method": lies.method, "level": None},
        encryption={"method": "none", "recipients": []},
        artifacts=[],
        created_by="",
        parent=None if parent is None else str(parent),
        pinned=lies.pinned,
        annotations={"name": str(name)} if name else {},
    )


def told(messages: str, *levels: str) -> list[str]:
    """The lines of its log that have one of the levels (``ERROR``, ``WARNING``, ``INFO``), without time and process."""
    found = (_LOG.fullmatch(line) for line in messages.splitlines())
    return [match["message"] for match in found if match and match["level"] in levels]


def started(messages: str) -> Optional[str]:
    """The backup that a run of barman-cloud-backup began, by its log; None when it did not come so far."""
    found = re.search(r"Starting backup '(\w+)'", messages)
    return found[1] if found else None


def activity(messages: str) -> Optional[str]:
    """What barman-cloud-backup does, by its log; it does not say how far it is."""
    if "Marking all the uploaded archives" in messages:
        return "waiting for the uploads by barman-cloud"
    if "Stopping backup" in messages:
        return WAITING
    found = re.findall(r"Uploading '([^']+)' directory ", messages)
    return f"backing up {found[-1]} by barman-cloud" if found else None


def doomed(said: str) -> tuple[list[str], list[str]]:
    """The keys of objects and the prefixes that a dry run of barman-cloud-backup-delete names.

    Raises:
        CatalogError: it names them otherwise than known.
    """
    keys: list[str] = []
    prefixes = []
    for line in said.splitlines():
        listed = re.fullmatch(r"Skipping deletion of objects (\[.*\]) due to --dry-run option", line)
        under = re.fullmatch(r"Skipping deletion of all objects under prefix (.*) due to --dry-run option", line)
        if listed:
            keys += [str(key) for key in ast.literal_eval(listed[1])]
        elif under:
            prefixes.append(under[1])
        elif line.strip():
            raise CatalogError(
                f"What barman-cloud-backup-delete would do cannot be read: {line!r}. Nothing was deleted."
            )
    return keys, prefixes


def wrongly(said: str, folder: str, label: str, staying: Sequence[Record], size: SegmentSize) -> list[str]:
    """What a dry run of deleting a backup names that is not that backup's, and that one of those which stay can need.
    ``folder``: of the server in the store, its prefix included. Raises CatalogError."""
    base, wals = f"{folder}/base/{label}/", f"{folder}/wals/"
    keys, prefixes = doomed(said)
    # Of a prefix (the first 16 digits of names) the last segment that it can hold counts.
    ends = [f"{prefix}{prefix.rstrip('/').rpartition('/')[2]}{size.per_half - 1:08X}" for prefix in prefixes]
    return [
        key
        for key in (*keys, *ends)
        if not key.startswith(base) and (not key.startswith(wals) or needed(key, staying, size))
    ]


def needed(name: str, staying: Iterable[Record], size: SegmentSize) -> bool:
    """Whether a file of the archive can be needed to restore one of the backups: its own timeline or a later one, which may
    come of it, from its first segment on. What is no segment counts as needed."""
    file = classify(name, size)
    if file.kind not in (SEGMENT, PARTIAL, BACKUP):
        return True
    return any(
        record.server["timeline"] <= file.timeline
        and Lsn.parse(str(record.start_lsn), "start_lsn") // size.bytes <= file.number
        for record in staying
    )


def locations(record: Record, tablespaces: Mapping[str, str]) -> list[str]:
    """The arguments of barman-cloud-restore that lay tablespaces elsewhere. Barman knows them by name, we by their old location.

    Raises:
        BadOption: an old location is none of the backup's, or a name has a colon, which Barman takes for its end.
    """
    spaces = {str(space["location"]): str(space["name"]) for space in record.server.get("tablespaces") or ()}
    arguments = []
    for old, new in tablespaces.items():
        name = spaces.get(old.rstrip("/"))
        if name is None:
            known = f"It has: {', '.join(spaces)}." if spaces else "It has none."
            raise BadOption("tablespaces", old, "is no location of a tablespace of the backup", known)
        if ":" in name:
            raise BadOption(
                "tablespaces", old, f"is of the tablespace {name!r}, and barman-cloud cannot move one with a colon in its name",
                "Restore it where it was, on a host where that directory is empty.",
            )  # fmt: skip
        arguments += ["--tablespace", f"{name}:{new}"]
    return arguments
