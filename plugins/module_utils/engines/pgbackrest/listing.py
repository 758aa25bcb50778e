# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest says, in our words: its list of backups as records, its reports of ``verify`` and ``expire``. Pure.

Fields: https://pgbackrest.org/command.html#command-info, as versions 2.45 and 2.60 write them. A label ends in ``F`` (full),
``D`` or ``I``, and names the full backup that it belongs to first.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time

KINDS = {"full": "full", "diff": "differential", "incr": "incremental"}
TYPES = {kind: word for word, kind in KINDS.items()}
#: annotations of ours, which carry what pgBackRest has no field for
VERIFIED, DRILLED, PINNED = "holdfast.verified_at", "holdfast.drilled_at", "holdfast.pinned"
_UNREADABLE = 99
_NO_STANZA = (1, 3)  # no path of it, no data in it
_NO_BACKUPS = 2
_REACHED = re.compile(r"HostConnectError|timeout after|unable to get address|Connection reset|unexpected (eof|EOF)")


class State(NamedTuple):
    """How a repository is, as ``info`` found it. ``system_id``: whose it is, by its newest entry; None: nobody's yet."""

    number: int
    code: int
    message: str
    system_id: Optional[str]

    @property
    def readable(self) -> bool:
        return self.code != _UNREADABLE

    @property
    def has_stanza(self) -> bool:
        return self.readable and self.code not in _NO_STANZA

    @property
    def lists_nothing(self) -> bool:
        """There is no backup, or no list of them."""
        return self.code in (*_NO_STANZA, _NO_BACKUPS)

    @property
    def unreachable(self) -> bool:
        """Nobody answered there, so that nothing can be said of keys and passphrases."""
        return not self.readable and _REACHED.search(self.message) is not None


class Listing:
    """What ``info --output=json`` says of one stanza.

    Raises:
        CatalogError: it is no such listing.
    """

    def __init__(self, output: str, stanza: str) -> None:
        try:
            # A message may quote what could not be decrypted, control characters included.
            entries = json.loads(output, strict=False)
            self._entry = next(entry for entry in entries if entry["name"] == stanza)
            owners = {
                (item["repo-key"], item["id"]): (str(item["system-id"]), str(item["version"]))
                for item in self._entry["db"]
            }
            self.states = [_state(item, owners) for item in self._entry["repo"]]
        except (ValueError, KeyError, TypeError, StopIteration) as exc:
            raise CatalogError(
                f"pgBackRest's list of {stanza} cannot be read ({exc.__class__.__name__}: {exc}): {output[:200]!r}."
            ) from exc
        self._owners = owners

    def records(self, server_name: str) -> list[Record]:
        """The backups, oldest first. One whose label is in two repositories is one record: pgBackRest, too, knows it by the
        label alone. ``scope.repositories`` are their numbers.

        Raises:
            CatalogError: an entry lacks what every one has.
        """
        made: dict[str, Record] = {}
        try:
            for entry in self._entry["backup"]:
                number = int(entry["database"]["repo-key"])
                if entry["label"] in made:
                    made[entry["label"]].scope["repositories"].append(number)
                    continue
                owner = self._owners.get((number, entry["database"]["id"]), (None, None))
                made[entry["label"]] = _record(entry, owner, server_name, number, self._cipher(number))
        except (KeyError, ValueError, TypeError) as exc:
            raise CatalogError(
                f"pgBackRest's list has an entry that cannot be read ({exc.__class__.__name__}: {exc})."
            ) from exc
        return sorted(made.values(), key=lambda record: (record.started_at, record.id))

    def tablespaces(self, label: str) -> list[dict[str, Any]]:
        """The tablespaces of a backup, where the listing is that of ``--set``: ``oid``, ``name``, ``location``."""
        entry: Mapping[str, Any] = next((item for item in self._entry["backup"] if item["label"] == label), {})
        return [
            {"oid": item["oid"], "name": item["name"], "location": item["destination"]}
            for item in entry.get("tablespace") or ()
        ]

    def _cipher(self, number: int) -> str:
        return next((str(item["cipher"]) for item in self._entry["repo"] if item["key"] == number), "none")


def _state(item: Mapping[str, Any], owners: Mapping[tuple[int, int], tuple[str, str]]) -> State:
    number, status = int(item["key"]), item["status"]
    newest = max((key for key in owners if key[0] == number), default=None)
    return State(number, int(status["code"]), str(status["message"]), owners[newest][0] if newest else None)


def _record(
    entry: Mapping[str, Any], owner: tuple[Optional[str], Optional[str]], server_name: str, number: int, cipher: str
) -> Record:
    system_id, version = owner
    begun, ended = (
        datetime.datetime.fromtimestamp(entry["timestamp"][name], datetime.timezone.utc) for name in ("start", "stop")
    )
    notes = {str(key): str(value) for key, value in (entry.get("annotation") or {}).items()}
    archive, lsn = entry.get("archive") or {}, entry.get("lsn") or {}
    first = archive.get("start")
    return Record(
        id=str(entry["label"]),
        engine="pgbackrest",
        kind=KINDS[entry["type"]],
        engine_version=str(entry["backrest"]["version"]),
        server={
            "name": server_name,
            "system_id": system_id,
            "version": version,
            "version_num": None if version is None else int(version.partition(".")[0]) * 10000,
            "timeline": int(first[:8], 16) if first else None,
            "in_recovery": None,
            "data_directory": None,
        },
        started_at=format_time(begun),
        stopped_at=format_time(ended),
        start_lsn=lsn.get("start"),
        stop_lsn=lsn.get("stop"),
        scope={
            "cluster": True,
            "size": entry["info"]["size"],
            "stored": entry["info"]["repository"].get("delta"),
            "repositories": [number],
        },
        consistency={
            # Whole seconds, so that the copy may have ended a little later.
            **consistency_of_a_copy(ended + datetime.timedelta(seconds=1)),
            "first_segment": first,
            "last_segment": archive.get("stop"),
        },
        databases=[],
        compression={"method": None, "level": None},
        encryption={"method": "none" if cipher == "none" else "aes256", "recipients": []},
        artifacts=[],
        created_by="",
        parent=entry.get("prior"),
        verified_at=notes.pop(VERIFIED, None),
        drilled_at=notes.pop(DRILLED, None),
        pinned=notes.pop(PINNED, "") == "true",
        annotations=notes,
        warnings=["pgBackRest found pages with wrong checksums in it: the server's files are damaged."]
        if entry.get("error")
        else [],
    )


def lacking(output: str, stored: Optional[int]) -> Optional[str]:
    """What a backup lacks by the names and sizes of its files, as ``repo-ls --recurse --output=json`` has them. ``stored``: bytes that
    ``info`` says it took. None: nothing that names and sizes tell.

    Raises:
        CatalogError: it is no such list.
    """
    try:
        sizes = {str(name): int(item["size"]) for name, item in json.loads(output).items() if item["type"] == "file"}
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CatalogError(
            f"pgBackRest's list of files cannot be read ({exc.__class__.__name__}: {exc}): {output[:200]!r}."
        ) from exc
    manifests = ("backup.manifest", "backup.manifest.copy")
    if not any(name in sizes for name in manifests):
        return "its backup.manifest is missing"
    there = sum(size for name, size in sizes.items() if name not in manifests)
    return f"its files have {there} bytes instead of {stored}" if stored is not None and there < stored else None


def finished(output: str) -> list[str]:
    """The labels of backups that were made to their end, by ``repo-ls --recurse --output=json`` of the stanza's folder: their manifest is written then.
    Raises CatalogError: it is no such list."""
    try:
        found = (
            re.fullmatch(r"(\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?)/backup\.manifest", name) for name in json.loads(output)
        )
        return sorted(match[1] for match in found if match)
    except (ValueError, TypeError) as exc:
        raise CatalogError(
            f"pgBackRest's list of files cannot be read ({exc.__class__.__name__}: {exc}): {output[:200]!r}."
        ) from exc


def expired(said: str) -> set[str]:
    """The labels that a (dry) run of ``expire --set`` names."""
    found = re.findall(r"repo\d+: expire adhoc backup (?:set )?(.+)$", said, re.MULTILINE)
    return {label.strip() for line in found for label in line.split(",")}


def expired_wal(said: str) -> list[str]:
    """The last segment of each range of WAL that a (dry) run of ``expire`` names."""
    return re.findall(r"remove archive, start = [0-9A-F]{16,24}, stop = ([0-9A-F]{16,24})", said)


def verdicts(report: str) -> dict[str, str]:
    """What ``verify --output=text --verbose`` says of each backup: ``valid``, or what is wrong with it."""
    found = {}
    for label, status, counts in re.findall(
        r"^ *backup: (\S+), status: ([^,\n]+)[^\n]*\n((?: {4}[^\n]*\n?)*)", report, re.MULTILINE
    ):
        wrong = [item for item in counts.strip().split(", ") if item and not item.endswith(": 0")]
        found[label] = status if status == "valid" else f"{status} ({', '.join(wrong) or 'no reason is given'})"
    return found


def archive_is_sound(report: str) -> bool:
    """Whether ``verify --output=text --verbose`` found nothing wrong in the WAL that it looked at."""
    found = re.findall(r"^ *archiveId: [^\n]*\n((?: {4}[^\n]*\n?)*)", report, re.MULTILINE)
    return not any(re.search(": [1-9]", counts) for counts in found)


def archive_id(folders: Iterable[str]) -> Optional[str]:
    """The folder of a stanza's current server, such as ``15-1``: each upgrade begins a new one with the next number."""
    numbered = [(int(found[1]), name) for name in folders if (found := re.fullmatch(r"[0-9.]+-([0-9]+)", name))]
    return max(numbered)[1] if numbered else None
