# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules by which a server's backups are well, each with its severity, its limits, and what to do. Pure.

A rule sees what was gathered, and answers with what it measured: good, bad, or not known. What it cannot be asked about says nothing.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import FAIL, PASS, Drill
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import from_the_future
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import key
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITHOUT_DATA
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health
from ansible_collections.holdfast.postgres.plugins.module_utils.status.text import last_stretch
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.units import (
    age,
    count,
    duration,
    known_time,
    listing,
    moment,
    size,
)

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
#: the deviation of a normal distribution, by its median absolute deviation
_MAD = 1.4826
#: so many of the last backups of one kind are compared
_RECENT = 14
_RUN_VERIFY = "Run the playbook verify, and schedule it."

Limits = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a rule measured: ``state``, a sentence or its end, and what to do. ``severity``: where it is another one than the rule's."""

    state: str
    text: str
    remedy: str = ""
    severity: Optional[str] = None


@dataclass(frozen=True)
class Disk:
    """The file system of a repository, in bytes."""

    free: int
    total: int


@dataclass
class Standing:
    """All that rules look at. ``every``: seconds in which a good backup is expected, where somebody said so. ``disks`` and ``findings`` (severity,
    sentence) are by tier; ``domains`` names for each tier what it falls with (a disk, a bucket)."""

    found: Gathered
    health: Health
    now: datetime.datetime
    every: Optional[int] = None
    archiver: Optional[Mapping[str, Any]] = None
    disks: Mapping[str, Disk] = field(default_factory=dict)
    findings: Sequence[tuple[str, str, str]] = ()
    domains: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def order(self) -> list[Record]:
        """All backups that have data of the server, the oldest first."""
        return in_order(record for record in self.found.records.values() if record.engine not in WITHOUT_DATA)


@dataclass(frozen=True)
class Limit:
    """What a rule compares with: its default, and what it is: ``duration`` (seconds, written 36h), ``share`` (0 to 1), ``count``. None: the rule does
    not ask, unless somebody says it."""

    default: Optional[Union[float, str]]
    kind: str


@dataclass(frozen=True)
class Rule:
    """``title`` is the first column of the table."""

    title: str
    severity: str
    look: Callable[[Standing, Limits], Optional[Seen]]
    limits: Mapping[str, Limit] = field(default_factory=dict)


def newest_backup(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is too old."""
    last = standing.health.last_good
    if last is None:
        return Seen(BAD, "there is no good one", "Run the playbook backup, and look at what it says.")
    most = standing.every or limits["max_age"]
    old = (standing.now - stopped(last)).total_seconds()
    text = f"{age(old)}, at most {format_duration(most)}"
    return Seen(BAD, text, "Look at the last runs of backup.") if old > most else Seen(GOOD, text)


def verified(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Nobody has read a backup back for long, since it was made."""
    order = standing.order
    if not order:
        return None
    times = [when for text in standing.found.verified.values() if (when := known_time(text)) is not None]
    if times:
        old = (standing.now - max(times)).total_seconds()
        text = f"{len(times)} of {count(len(order), 'backup')}, last {age(old)}"
        return Seen(BAD, text, _RUN_VERIFY) if old > limits["max_age"] else Seen(GOOD, text)
    oldest = (standing.now - stopped(order[0])).total_seconds()
    if oldest <= limits["max_age"]:
        return Seen(GOOD, "each was read back when it was made, and none is old")
    return Seen(BAD, f"none was read back since it was made, the oldest {age(oldest)}", _RUN_VERIFY)


def failed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A backup failed its last verification."""
    found = standing.found.failed
    if not found:
        return None
    names = listing([f"{name} in {tier}" for name, tier in found], 4)
    first = next(iter(found.values()))
    return Seen(
        BAD,
        f"{names}: {first}",
        "Use another backup, and make a new one. The playbook verify looks again, and takes the mark away where it is good.",
    )


def last_drill(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The last drill failed, missed its objectives, or was not whole."""
    last = _last_drill(standing)
    if last is None:
        return None
    which = f" of {last.backup}" if last.backup else ""
    text = f"{last.verdict}{which}, {age((standing.now - parse_time(last.at, 'drill')).total_seconds())}"
    if last.verdict == PASS:
        return Seen(GOOD, text)
    return Seen(BAD, text, f"Its evidence says why: _drills/{last.id}.md.", None if last.verdict == FAIL else "warning")


def _last_drill(standing: Standing) -> Optional[Drill]:
    # (In the order of time; also those that failed before they chose a backup.)
    return standing.found.all_drills[-1][1] if standing.found.all_drills else None


def drilled(standing: Standing, limits: Limits) -> Optional[Seen]:
    """No drill has proven for long that a backup can be restored."""
    order = standing.order
    times = [when for record in order if (when := known_time(record.drilled_at)) is not None]
    run = "Run the playbook drill, and schedule it."
    if not order:
        return None
    if not times:
        oldest = (standing.now - stopped(order[0])).total_seconds()
        if oldest <= limits["max_age"]:
            return Seen(GOOD, "none yet, and no backup is old")
        return Seen(BAD, f"none of the backups, the oldest of which is of {age(oldest)}", run)
    old = (standing.now - max(times)).total_seconds()
    text = f"{len(times)} of {count(len(order), 'backup')}, last {age(old)}"
    return Seen(BAD, text, run) if old > limits["max_age"] else Seen(GOOD, text)


def drilled_newest(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The last drills were all of what was the newest backup then: older ones, and older copies, are taken on trust."""
    drills = sorted(standing.found.drills.values(), key=lambda drill: (drill.at, drill.number))[-limits["drills"] :]
    known = {record.id: stopped(record) for record in standing.order}
    of = [(drill, known[drill.backup]) for drill in drills if drill.backup in known]
    if len(of) < limits["drills"]:
        return None
    if any(own < other <= parse_time(drill.at, "drill") for drill, own in of for other in known.values()):
        return Seen(GOOD, "older ones too")
    return Seen(
        BAD,
        f"the last {len(of)} drills were each of the newest backup",
        "Drill others too: holdfast_drill_select=oldest_unproven, or random.",
    )


def _off(values: Sequence[float], by: float) -> Optional[tuple[float, float]]:
    """The last value and the median of those before, where it is off by more than a share of that, and by more than they differ by chance."""
    *before, last = values
    middle = statistics.median(before)
    spread = statistics.median([abs(value - middle) for value in before]) * _MAD
    distance = abs(last - middle)
    return (last, middle) if distance > by * middle and distance > 3 * spread else None


def _compared(
    standing: Standing,
    limits: Limits,
    measure: Callable[[Record], Optional[float]],
    least: float,
    shown: Callable[[float], str],
) -> Optional[Seen]:
    """The newest backup of each scope and kind against those before it."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in standing.order:
        groups.setdefault((key(record), record.kind), []).append(record)
    newest = standing.order[-1:]
    told, seen = [], 0
    for group in groups.values():
        values = [value for record in group[-_RECENT:] if (value := measure(record)) is not None]
        if (
            len(values) <= limits["backups"]
            or group[-1] not in newest
            and (standing.now - stopped(group[-1])).days > 30
        ):
            continue
        seen += 1
        off = _off(values, limits["by"])
        if off is not None and max(off) >= least:
            told.append(f"{group[-1].id} {shown(off[0])}, and those before {shown(off[1])}")
    if not seen:
        return None
    if told:
        return Seen(
            BAD,
            listing(told, 3),
            "Look at what changed on the server: rows that are gone, a table that grew, another disk.",
        )
    return Seen(GOOD, "as those before")


def size_changed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest backup is much smaller or larger than those before."""

    def stored(record: Record) -> Optional[float]:
        own: Optional[float] = record.scope.get("stored") if not record.artifacts else record.size
        return own or None

    return _compared(standing, limits, stored, 1024 * 1024, lambda value: f"has {size(value)}")


def duration_changed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """It took much longer, or less time."""

    def took(record: Record) -> Optional[float]:
        begun = parse_time(record.started_at, "started_at")
        return max((stopped(record) - begun).total_seconds(), 0.0)

    return _compared(standing, limits, took, 60, lambda value: f"took {duration(value)}")


def window(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The moments that can be reached begin later than was promised, or have a gap."""
    wal = standing.found.wal
    if wal is None:
        return None
    stretch = last_stretch(wal)
    if stretch is None:
        return Seen(BAD, "no moment can be reached: no backup leads to the WAL", "Make a backup of the whole server.")
    begins = known_time(stretch["start"])
    if begins is None:
        return Seen(UNKNOWN, "from when on moments can be reached is not known")
    promised = limits["promised"]
    since = (standing.now - begins).total_seconds()
    text = f"any moment from {moment(begins, standing.now)} on"
    if promised is not None and since < promised:
        return Seen(
            BAD,
            f"{text}, which is {format_duration(since)}, and {format_duration(promised)} are promised",
            "Keep more backups and WAL: the retention decides.",
        )
    return Seen(GOOD, text)


def wal_lag(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Finished WAL waits for long to be archived."""
    archiver = standing.archiver
    if archiver is None or archiver.get("mode") in (None, "off"):
        return None
    waits, ready = archiver.get("oldest_ready_age"), archiver.get("ready")
    if ready is None:
        return Seen(
            UNKNOWN,
            "how many segments wait is not known: the role may not see it",
            "GRANT pg_monitor to it.",
            "warning",
        )
    if not ready or waits is None:
        return Seen(GOOD, "no segment waits")
    text = f"{count(ready, 'segment waits', 'segments wait')}, the oldest {duration(waits)}, {size(archiver.get('lag_bytes') or 0)}"
    if waits > limits["max_age"]:
        return Seen(BAD, text, "The server's log has the words of archive_command; pg_wal fills until it works.")
    return Seen(GOOD, text)


def space(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A repository's disk is nearly full, or the next backups do not fit."""
    if not standing.disks:
        return None
    largest = {name: 0.0 for name in standing.disks}
    for record in standing.order[-_RECENT:]:
        for name in standing.found.where.get(record.id, ()):
            if name in largest:
                largest[name] = max(largest[name], float(record.size))
    told, severity = [], None
    for name, disk in standing.disks.items():
        used = 1 - disk.free / disk.total if disk.total else 0.0
        if disk.free < largest[name] * limits["backups"]:
            told.append(
                f"{name} has {size(disk.free)} left, and the largest of the last backups has {size(largest[name])}"
            )
            severity = "critical"
        elif used * 100 > limits["used"]:
            told.append(f"{name} is full by {used:.0%}, {size(disk.free)} are left")
    if told:
        return Seen(BAD, listing(told, 3), "Make room, or keep less (retention).", severity)
    return Seen(GOOD, listing([f"{name}: {size(disk.free)} free" for name, disk in standing.disks.items()], 3))


def copies(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is in one place alone, or all of its copies fall together."""
    last = standing.health.last_good
    if last is None or not standing.domains:
        return None
    tiers = [name for name in standing.found.where[last.id] if name in standing.domains]
    domains = {standing.domains[name] for name in tiers}
    if not tiers:
        return None
    away = "Keep another copy elsewhere: a second repository (holdfast_repositories), or the playbook copy."
    if len(tiers) < limits["least"]:
        return Seen(
            BAD, f"{count(len(tiers), 'copy', 'copies')} of the newest good one, and {limits['least']} are wanted", away
        )
    if len(domains) < 2 <= len(tiers):
        return Seen(BAD, f"all {len(tiers)} copies are in {next(iter(domains))}, and go together", away)
    return Seen(GOOD, f"in {listing(tiers)}")


def encrypted(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is not encrypted."""
    last = standing.health.last_good
    if last is None:
        return None
    method = last.encryption.get("method")
    if method is None:
        return Seen(UNKNOWN, f"whether {last.id} is encrypted is not known")
    if method == "none":
        return Seen(
            BAD,
            f"{last.id} is not encrypted",
            "Give encryption, or switch this rule off where the storage is encrypted.",
        )
    return Seen(GOOD, str(method))


def clocks(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A backup is from the future."""
    told = [text for record in standing.order if (text := from_the_future(record, standing.now))]
    return Seen(BAD, told[-1].rstrip("."), "Let both hosts ask the same time servers.") if told else None


def one_server(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Backups of several servers lie under one name, made in turn: two servers write there."""
    last = [str(record.server["system_id"]) for record in standing.order if record.server.get("system_id")]
    turns = sum(1 for one, other in zip(last, last[1:]) if one != other)
    if turns < 2:
        return None
    return Seen(
        BAD,
        f"backups of {len(set(last))} servers (system identifiers) come in turn under this name",
        "Give each server a server_name of its own.",
    )


def store_settings(standing: Standing, limits: Limits) -> Optional[Seen]:
    """What the stores say of themselves: object lock, versioning, tokens that expire."""
    if not standing.findings:
        return None
    worst = [entry for entry in standing.findings if entry[1] == "error"]
    bad = worst or [entry for entry in standing.findings if entry[1] == "warning"]
    if not bad:
        return Seen(GOOD, "nothing that the store says speaks against it")
    told = [f"{tier}: {text.rstrip('.')}" for tier, _level, text in bad]
    return Seen(BAD, "; ".join(told[:3]), "The playbook check says all of it.", "critical" if worst else None)


_DURATION = "duration"
#: in the order of the table
RULES: Mapping[str, Rule] = {
    "newest_backup": Rule("Newest good backup", "critical", newest_backup, {"max_age": Limit("36h", _DURATION)}),
    "failed_verification": Rule("Failed verification", "critical", failed),
    "verified": Rule("Verified since", "warning", verified, {"max_age": Limit("30d", _DURATION)}),
    "last_drill": Rule("Last drill", "critical", last_drill),
    "drilled": Rule("Drilled", "warning", drilled, {"max_age": Limit("35d", _DURATION)}),
    "drilled_newest": Rule("Drilled what", "warning", drilled_newest, {"drills": Limit(3, "count")}),
    "window": Rule("Any moment", "warning", window, {"promised": Limit(None, _DURATION)}),
    "wal_lag": Rule("WAL waiting", "warning", wal_lag, {"max_age": Limit("15min", _DURATION)}),
    "space": Rule("Room", "warning", space, {"used": Limit(80, "count"), "backups": Limit(2, "count")}),
    "copies": Rule("Copies", "warning", copies, {"least": Limit(2, "count")}),
    "encrypted": Rule("Encryption", "warning", encrypted),
    "size_changed": Rule("Size", "warning", size_changed, {"by": Limit(0.5, "share"), "backups": Limit(4, "count")}),
    "duration_changed": Rule(
        "Duration", "warning", duration_changed, {"by": Limit(0.5, "share"), "backups": Limit(4, "count")}
    ),
    "store_settings": Rule("Store", "warning", store_settings),
    "clocks": Rule("Clocks", "warning", clocks),
    "one_server": Rule("One server", "critical", one_server),
}
