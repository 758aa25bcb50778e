# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of a server's backups: in each repository, in an engine's own, in the WAL archive, and what the server says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.audit import describe, inspect, worst_first
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_options import root_of
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_state import shipping_of
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import (
    Drill,
    drills,
    in_order as drills_in_order,
    last_of_each,
    proven,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import damage
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, has_same_content
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import Marks
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import (
    ELSEWHERE,
    KINDS,
    WITH_REPOSITORY,
    WITHOUT_DATA,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import silence
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import open_to_read
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import keeping_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import archiver_state
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import slots
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.cluster import lacking


@dataclass
class TierStatus:
    """What one repository has. Times as records have them, sizes bytes; ``error``: it could not be read."""

    name: str
    repository: str
    count: int = 0
    total_size: int = 0
    last_success: Optional[str] = None
    lock: Optional[dict[str, Any]] = None
    leftovers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    error: Optional[str] = None


@dataclass
class Gathered:
    """All that was found. ``where`` has for each backup's id the names of the tiers that have it."""

    tiers: list[TierStatus] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    where: dict[str, list[str]] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=dict)
    wal: Optional[dict[str, Any]] = None
    archiver: Optional[dict[str, Any]] = None
    #: how far WAL is shipped from a directory of this host (archiving/ship_state.py)
    shipping: Optional[dict[str, Any]] = None
    #: bytes in an engine's own repository, as far as it tells
    stored: int = 0
    #: what could not be looked into, in sentences
    unread: list[str] = field(default_factory=list)
    #: when a backup was last read back since it was made, by its id (ISO 8601)
    verified: dict[str, str] = field(default_factory=dict)
    #: backups of an engine's own repository that have visibly lost a part, and so are not among the records: a sentence each, by id
    lost: dict[str, str] = field(default_factory=dict)
    #: what failed its last verification, with what was wrong, by backup's id and tier's name
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    #: when that was seen last, by its id (ISO 8601)
    failed_at: dict[str, str] = field(default_factory=dict)
    #: what ``damage`` found, by backup's id and tier's name
    hurt: dict[tuple[str, str], str] = field(default_factory=dict)
    #: the last drill of each backup, by its id, out of whichever repository
    drills: dict[str, Drill] = field(default_factory=dict)
    #: all drills with the names of their tiers, the oldest first; those too that did not come to choose a backup
    all_drills: list[tuple[str, Drill]] = field(default_factory=list)
    #: how an engine looks at a backup in its own repository, by its name
    looks: dict[str, Callable[[Record], Optional[str]]] = field(default_factory=dict)

    #: what is wrong with what a backup has elsewhere than in a repository
    elsewhere: Callable[[Record], Optional[str]] = lambda record: (
        "whether its VolumeSnapshots are still there was not looked at: say kubernetes (the namespace)"
    )

    def note(self, marks: Marks, record: Record) -> None:
        """What the marks of one store say of a backup."""
        mark = marks.of(record)
        at = mark.proven_at("checksum") if mark else None
        if at:
            self.verified[record.id] = max(at, self.verified.get(record.id, ""))
        if mark and mark.failure:
            self.failed_at[record.id] = max(mark.failure.at, self.failed_at.get(record.id, ""))

    def failures(self) -> dict[str, str]:
        """The backups whose every copy failed its last verification, with what was wrong with one of them."""
        copies = {name: [self.failed.get((name, tier)) for tier in tiers] for name, tiers in self.where.items()}
        return {name: found[-1] for name, found in copies.items() if found and all(found) and found[-1] is not None}

    def damage(self, record: Record) -> Optional[str]:
        """What is wrong with a backup in each of the repositories that has it; None: one of them has all of it."""
        found: list[Optional[str]] = []
        for name in self.where[record.id]:
            wrong: Optional[str] = None
            of_engine = self.looks.get(name)
            if name in self.shelves or of_engine is not None:
                try:
                    wrong = damage(self.shelves[name], record) if of_engine is None else of_engine(record)
                    wrong = wrong or self.failed.get((record.id, name))
                except HoldfastError as exc:
                    # Not known is not whole.
                    wrong = f"whether all of it is there is not known: {exc}"
            if wrong is None and record.engine in ELSEWHERE:
                wrong = self._elsewhere(record)
            found.append(wrong)
            if wrong is not None:
                self.hurt[record.id, name] = wrong
        return None if None in found else found[-1]

    def _elsewhere(self, record: Record) -> Optional[str]:
        try:
            return self.elsewhere(record)
        except HoldfastError as exc:
            return f"whether its VolumeSnapshots are still there is not known: {exc}"


def gather(params: Mapping[str, Any], space: str) -> Gathered:
    """Look at everything that the options name. ``space`` is a private directory.

    Raises:
        HoldfastError: no repository could be read, or the engine's not; or the server did not answer where it is asked.
    """
    found = Gathered()
    if (access := access_of(params.get("kubernetes"))).given:
        found.elsewhere = partial(lacking, Cluster(access))
    errors: list[HoldfastError] = []
    for name, options, where in named_repositories(params) if params["repository"] or params["repositories"] else ():
        shelf = Shelf(open_repository(options, where), params["server_name"])
        tier = TierStatus(name, shelf.repository.description)
        found.tiers.append(tier)
        try:
            _look(tier, shelf, found)
        except HoldfastError as exc:
            tier.error = str(exc)
            errors.append(exc)
    if errors and len(errors) == len(found.tiers):
        raise errors[0]
    if params["archiving"]:
        found.archiver = ask_server(params, space)
    _look_at_wal(params, found, space)
    found.shipping = shipping_of(root_of(params), params["server_name"], time.time())
    _look_at_drills(found)
    return found


def _look_at_drills(found: Gathered) -> None:
    """What drills say of each backup, by the names of their evidence."""
    chains: dict[str, list[Drill]] = {}
    for name, shelf in found.shelves.items():
        try:
            chains[name] = drills(shelf)
        except HoldfastError as exc:
            found.unread.append(f"Which backups in {name} were drilled is not known: {exc}")
    found.all_drills = drills_in_order(chains)
    known = [drill for _tier, drill in found.all_drills]
    found.drills = last_of_each(known)
    for backup, drill in proven(known).items():
        if backup in found.records:
            found.records[backup].drilled_at = drill.at


def ask_server(params: Mapping[str, Any], space: str) -> dict[str, Any]:
    """What the server says of its archiving and its slots, and what is wrong with it (``problems``, sentences). Raises ServerError: it does
    not answer."""
    with contextlib.closing(Address(params, space).connect()) as connection:
        words = (interrupted.of_connection(connection), silence.of_connection(connection, params))
        problems = [word for word in words if word]
        return {**archiver_state(connection), "slots": slots(connection), "problems": problems}


def _look(tier: TierStatus, shelf: Shelf, found: Gathered) -> None:
    shelf.repository.check(write=False)
    listing = look(shelf)
    found.shelves[tier.name] = shelf
    tier.problems, tier.leftovers = listing.problems, listing.leftovers
    for record in listing.records:
        tier.count += 1
        tier.total_size += record.size
        if record.verified_at and record.engine not in WITHOUT_DATA:
            tier.last_success = max(tier.last_success or "", record.stopped_at)
        known = found.records.setdefault(record.id, record)
        if not has_same_content(known, record):
            tier.problems = [
                *tier.problems,
                f"{tier.repository} has another backup {record.id} of {shelf.name!r} than {', '.join(found.where[record.id])}, with other "
                "content. Only that one counts here: look at this repository by itself, and give one of the two another id.",
            ]
            continue
        known.verified_at = max((at for at in (known.verified_at, record.verified_at) if at), default=None)
        found.where.setdefault(record.id, []).append(tier.name)
        found.note(shelf.marks(), record)
        if record.id in listing.failed:
            found.failed[record.id, tier.name] = found.hurt[record.id, tier.name] = listing.failed[record.id]
    if not tier.count and (unknown := shelf.say_if_unknown()):
        tier.problems = [*tier.problems, unknown]
    tier.lock = lock.state(shelf.repository, f"{shelf.name}/lock.json")


def _look_into_engine(
    name: str, params: Mapping[str, Any], found: Gathered, space: str, problems: list[str]
) -> Optional[WalArchive]:
    """The WAL archive of an engine with a repository of its own, whose backups are added to those that were found. One that was not
    named, and cannot be looked into from here, is a problem and no error."""
    try:
        engine = open_to_read(name, params, space)
        found.looks[engine.name] = engine.lacks
        marks = [shelf.marks() for shelf in found.shelves.values()]
        for listed in engine.backups(problems, found.lost):
            record = listed
            for mark in marks:
                record = mark.apply(record)
                found.note(mark, listed)
                if (failure := mark.failure(listed)) is not None:
                    found.failed[record.id, record.engine] = failure
            # Those of an engine's own repository are in no place of ours.
            if record.id not in found.records:
                found.stored += record.scope.get("stored") or 0
                found.where[record.id] = [record.engine]
            found.records[record.id] = record
    except HoldfastError as exc:
        if params["engine"]:
            raise
        problems.append(f"{name} keeps an archive of {params['server_name']} here, which cannot be looked into: {exc}")
        return None
    return engine.wal


def _look_at_wal(params: Mapping[str, Any], found: Gathered, space: str) -> None:
    """What each archive makes reachable; an engine's own backups are added to those that were found."""
    archives: list[tuple[str, WalArchive]] = []
    problems: list[str] = []
    secrets = Secrets(params.get("encryption") or {}, space)
    name = params["engine"]
    try:
        name = name or keeping_engine(params)
    except BadOption as exc:
        problems.append(str(exc))
    if name in WITH_REPOSITORY:
        wal = _look_into_engine(str(name), params, found, space, problems)
        archives += [(str(name), wal)] if wal else []
    else:
        for tier in found.tiers:
            if tier.name in found.shelves:
                shelf = found.shelves[tier.name]
                try:
                    wal = wal_in(shelf.repository, shelf.name, secrets.of_wal)
                except HoldfastError as exc:
                    problems.append(str(exc))
                    continue
                archives += [(tier.name, wal)] if wal else []
    try:
        reports = [report_of(tier, wal, found, space, len(archives) > 1) for tier, wal in archives]
    finally:
        secrets.close()
    told = [report for report in reports if report]
    if not told:
        found.unread += problems
        return
    # The one that leads the furthest stands for all: what one of them has can be reached.
    best = max(told, key=lambda report: (bool(reaching(report)), report["last_segment"] or ""))
    findings = sorted((finding for report in told for finding in report["findings"]), key=worst_first)
    found.wal = {**best, "findings": findings, "problems": problems, "archives": told}


def report_of(name: str, wal: WalArchive, found: Gathered, space: str, several: bool) -> Optional[dict[str, Any]]:
    """One archive, with the backups that lie beside it: a recovery reads both from one repository. None: it cannot be read, which is told."""
    # Windows are what pg_recover reaches, which begins at no volume snapshot.
    records = [
        record
        for record in found.records.values()
        if record.kind in KINDS and record.engine not in ELSEWHERE and (not several or name in found.where[record.id])
    ]
    try:
        report = inspect(wal, records, space)
    except BadOption as exc:  # histories of timelines are encrypted as all else
        found.unread.append(f"What {wal.description} makes reachable is not known: {exc}")
        return None
    except HoldfastError as exc:
        if not several:
            raise
        found.unread.append(f"What {wal.description} makes reachable is not known: {exc}")
        return None
    findings = [{**describe(finding), "tier": name} for finding in report.findings]
    for finding in findings if several else ():
        finding["text"] = f"{name}: {finding['text']}"
    return {
        "tier": name,
        "archive": wal.description,
        "windows": [window.to_dict() for window in report.windows],
        "last_segment": report.last_segment(),
        "last_segment_age": wal.age(report.last_segment()),
        "findings": findings,
    }


def reaching(report: Mapping[str, Any]) -> list[Any]:
    """The windows of an archive that a backup leads into. Pure."""
    return [window for window in report["windows"] if window["stretches"]]
