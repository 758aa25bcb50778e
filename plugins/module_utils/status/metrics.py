# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server's backups stand, as metrics of Prometheus (text format 0.0.4). Pure.

Times are seconds since 1970 and ages are left to who asks, as a file that nobody writes anew would stay young for ever. What is not known, or never
was, has no sample: 0 would be 1970, or nothing at all. Labels are of what somebody configured, or of a list of ours: no ids, positions or times.
Every sample has ``server_name``, since two servers of a host have a file each, and node_exporter refuses all of it where one sample comes twice.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import links
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.described import stored_size
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import PROVING, Drill
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import from_the_future, is_good
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import LISTED_WHOLE
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import LEVELS, Alert, level
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import as_known
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import Standing
from ansible_collections.holdfast.postgres.plugins.module_utils.status.text import last_stretch
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.units import known_time

PREFIX = "holdfast_"
#: what there is, in the order of the file: the name, and what it says (HELP); all are gauges
FAMILIES: Mapping[str, str] = {
    "holdfast_info": "1; the version of the collection that looked.",
    "holdfast_scrape_timestamp_seconds": "When the collection looked last.",
    "holdfast_scrape_duration_seconds": "How long it looked.",
    "holdfast_status": "How the backups stand by all rules: 0 ok, 1 warning, 2 critical.",
    "holdfast_alerts": "Alerts of a severity.",
    "holdfast_alert": "1 while a rule does not hold.",
    "holdfast_repository_readable": "1 where a repository could be read, else 0; what it has is then left out.",
    "holdfast_repository_free_bytes": "Room that is left on a repository's file system.",
    "holdfast_repository_used_bytes": "Room that is used there, by whatever.",
    "holdfast_repository_backups_bytes": "What the backups of this server take in a repository.",
    "holdfast_backups": "Backups, by what is known of them: verified, unverified, failed (its last verification, or it is not whole).",
    "holdfast_backups_pinned": "Backups that no retention deletes.",
    "holdfast_backup_last_success_timestamp_seconds": "When the newest good backup ended.",
    "holdfast_backup_size_bytes": "What the newest good backup takes in its repository.",
    "holdfast_backup_duration_seconds": "How long the newest good backup took.",
    "holdfast_backup_expected_interval_seconds": "A good backup is expected at least so often.",
    "holdfast_recovery_window_start_timestamp_seconds": "From when on any moment can be reached.",
    "holdfast_recovery_window_end_timestamp_seconds": "Up to when any moment can be reached, where that is known.",
    "holdfast_wal_gaps": "Gaps of the WAL archive that a kept backup needs.",
    "holdfast_wal_archiving_failing": "1 while archive_command fails.",
    "holdfast_wal_last_archived_timestamp_seconds": "When the server archived its last segment.",
    "holdfast_wal_ready_files": "Finished segments that wait to be archived.",
    "holdfast_wal_archive_lag_seconds": "How long the oldest of them has waited.",
    "holdfast_wal_archive_lag_bytes": "What they have.",
    "holdfast_verify_last_success_timestamp_seconds": "When a backup was last read back and found good, since it was made.",
    "holdfast_verify_last_failure_timestamp_seconds": "When a backup that is marked as bad was last seen to be so.",
    "holdfast_drill_last_success_timestamp_seconds": "When a drill last proved a backup.",
    "holdfast_drill_last_failure_timestamp_seconds": "When a drill last proved none.",
    "holdfast_drill_evidence_readable": "0 where the evidence of the last drill cannot be read, or was changed.",
    "holdfast_drill_rto_seconds": "The RTO that the last drill measured.",
    "holdfast_drill_rpo_seconds": "The RPO that it measured.",
    "holdfast_objective_rto_seconds": "The RTO that it was to meet.",
    "holdfast_objective_rpo_seconds": "The RPO that it was to meet.",
}
#: what moves though nobody did anything: a file that differs in these alone says the same
MOVING = frozenset(
    {
        "holdfast_scrape_timestamp_seconds", "holdfast_scrape_duration_seconds", "holdfast_repository_free_bytes",
        "holdfast_repository_used_bytes", "holdfast_wal_archive_lag_seconds",
    }
)  # fmt: skip

Number = Union[int, float]
_SAMPLE = re.compile(r'(holdfast_[a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (-?[0-9][0-9.e+-]*)')


@dataclass(frozen=True)
class Sample:
    """One value."""

    name: str
    labels: Mapping[str, str]
    value: Number


@dataclass(frozen=True)
class Evidence:
    """What the last drill measured, out of its evidence; ``content`` None: it cannot be read, or was changed."""

    content: Optional[Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """The look itself: ``took`` in seconds; ``tiers`` are the names of the repositories that were to be looked into."""

    version: str
    at: datetime.datetime
    took: float
    tiers: Sequence[str]


def produce(
    server_name: str, run: Run, standing: Optional[Standing], alerts: Sequence[Alert], evidence: Optional[Evidence]
) -> str:
    """The content of the file. ``standing`` None: nothing could be read. ``evidence`` None: there was no drill."""
    samples = list(_of_run(run, alerts))
    if standing is None:
        samples += [Sample("holdfast_repository_readable", {"tier": tier}, 0) for tier in run.tiers]
    else:
        samples += [*_of_repositories(standing), *_of_backups(standing), *_of_wal(standing), *_of_proof(standing)]
    if evidence is not None:
        samples += _of_evidence(evidence)
    return exposition({"server_name": server_name}, samples)


def exposition(common: Mapping[str, str], samples: Iterable[Sample]) -> str:
    """Text for Prometheus: each family with its samples, in one order."""
    by_name: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in {**common, **sample.labels}.items())
        by_name.setdefault(sample.name, []).append(f"{sample.name}{{{labels}}} {sample.value!r}\n")
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n{''.join(sorted(by_name[name]))}"
        for name, text in FAMILIES.items()
        if name in by_name
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def is_of(content: str, server_name: str) -> bool:
    """Whether a file's content is such text as ``produce`` makes, of this server alone."""
    own = f'server_name="{_escaped(server_name)}"'
    lines = [line for line in content.split("\n")[:-1] if not line.startswith("# ")]
    found = [_SAMPLE.fullmatch(line) for line in lines]
    return (
        bool(found)
        and content.endswith("\n")
        and all(one is not None and one[1] in FAMILIES and own in one[2] for one in found)
    )


def said(content: str) -> list[str]:
    """What a file says, without what moves by itself."""
    return [line for line in content.split("\n") if re.split(r"[{ ]", line)[0] not in MOVING]


def _of_run(run: Run, alerts: Sequence[Alert]) -> Iterator[Sample]:
    yield Sample("holdfast_info", {"version": run.version}, 1)
    yield Sample("holdfast_scrape_timestamp_seconds", {}, _stamp(run.at))
    yield Sample("holdfast_scrape_duration_seconds", {}, round(run.took, 3))
    yield Sample("holdfast_status", {}, LEVELS.index(level(alerts)))
    for severity in LEVELS[1:]:
        number = sum(1 for alert in alerts if alert.severity == severity)
        yield Sample("holdfast_alerts", {"severity": severity}, number)
    for rule, severity in sorted({(alert.code, alert.severity) for alert in alerts}):
        yield Sample("holdfast_alert", {"rule": rule, "severity": severity}, 1)


def _of_repositories(standing: Standing) -> Iterator[Sample]:
    for tier in standing.found.tiers:
        label = {"tier": tier.name}
        yield Sample("holdfast_repository_readable", label, 0 if tier.error else 1)
        if not tier.error:
            yield Sample("holdfast_repository_backups_bytes", label, tier.total_size)
    for name, disk in standing.disks.items():
        yield Sample("holdfast_repository_free_bytes", {"tier": name}, disk.free)
        yield Sample("holdfast_repository_used_bytes", {"tier": name}, disk.total - disk.free)


def _of_backups(standing: Standing) -> Iterator[Sample]:
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in standing.order:
        for tier in standing.found.where.get(record.id, ()):
            groups.setdefault((record.engine, record.kind, tier), []).append(record)
    known = as_known(standing.order, LISTED_WHOLE)
    for (engine, kind, tier), records in groups.items():
        labels = {"engine": engine, "kind": kind, "tier": tier}
        # First, as this looks at backups, and what it finds counts below.
        good = _last_good(standing, known, records, tier)
        states = [_state(standing, record, tier) for record in records]
        for state in ("verified", "unverified", "failed"):
            yield Sample("holdfast_backups", {**labels, "state": state}, states.count(state))
        yield Sample("holdfast_backups_pinned", labels, sum(1 for record in records if record.pinned))
        if good is not None:
            ended, begun = stopped(good), known_time(good.started_at)
            yield Sample("holdfast_backup_last_success_timestamp_seconds", labels, _stamp(ended))
            stored = stored_size(good.to_dict())
            if stored is not None:
                yield Sample("holdfast_backup_size_bytes", labels, stored)
            if begun is not None and begun <= ended:
                took = round((ended - begun).total_seconds(), 3)
                yield Sample("holdfast_backup_duration_seconds", labels, took)
    if standing.every is not None:
        yield Sample("holdfast_backup_expected_interval_seconds", {}, standing.every)


def _state(standing: Standing, record: Record, tier: str) -> str:
    if record.id in standing.health.damaged or (record.id, tier) in {**standing.found.failed, **standing.found.hurt}:
        return "failed"
    return "verified" if record.verified_at else "unverified"


def _last_good(
    standing: Standing, known: Mapping[str, Record], records: Sequence[Record], tier: str
) -> Optional[Record]:
    """The newest one of one tier that can be restored out of that tier, as far as one knows without reading it."""
    for record in reversed(records):
        # One from the future would never grow old.
        if from_the_future(record, standing.now) or not is_good(known[record.id], known):
            continue
        if all(_stands(standing, link, tier) for link in links(known[record.id], known.get)):
            return record
    return None


def _stands(standing: Standing, record: Record, tier: str) -> bool:
    found = standing.found
    if tier not in found.where.get(record.id, ()) or record.id in standing.health.damaged:
        return False
    found.damage(record)
    return (record.id, tier) not in found.hurt and (record.id, tier) not in found.failed


def _of_wal(standing: Standing) -> Iterator[Sample]:
    for archive in (standing.found.wal or {}).get("archives", []):
        label = {"tier": archive["tier"]}
        stretch = last_stretch(archive)
        for name in ("start", "end") if stretch else ():
            when = known_time(stretch[name]) if stretch and stretch[name] else None
            if when is not None:
                yield Sample(f"holdfast_recovery_window_{name}_timestamp_seconds", label, _stamp(when))
        gaps = [entry for entry in archive["findings"] if entry["code"] == "gap" and entry["level"] != "fine"]
        yield Sample("holdfast_wal_gaps", label, len(gaps))
    archiver = standing.archiver
    if archiver is None or archiver.get("mode") in (None, "off"):
        return
    if archiver.get("failing") is not None:
        yield Sample("holdfast_wal_archiving_failing", {}, int(archiver["failing"]))
    last = known_time(archiver.get("last_archived_at") or "")
    if last is not None:
        yield Sample("holdfast_wal_last_archived_timestamp_seconds", {}, _stamp(last))
    if archiver.get("ready") is None:
        return
    yield Sample("holdfast_wal_ready_files", {}, archiver["ready"])
    yield Sample("holdfast_wal_archive_lag_bytes", {}, archiver.get("lag_bytes") or 0)
    waits = archiver.get("oldest_ready_age") if archiver["ready"] else 0
    if waits is not None:
        yield Sample("holdfast_wal_archive_lag_seconds", {}, round(max(waits, 0), 3))


def _of_proof(standing: Standing) -> Iterator[Sample]:
    found = standing.found
    yield from _newest("holdfast_verify_last_success_timestamp_seconds", found.verified.values())
    yield from _newest("holdfast_verify_last_failure_timestamp_seconds", found.failed_at.values())
    proved = _last_drills([drill for _tier, drill in found.all_drills])
    for name, good in (("success", True), ("failure", False)):
        if good in proved:
            yield Sample(f"holdfast_drill_last_{name}_timestamp_seconds", {}, _stamp(proved[good]))


def _last_drills(drills: Sequence[Drill]) -> dict[bool, datetime.datetime]:
    """When a drill last proved something, and when one last did not. An alert compares the two, so each is before those that followed it, also where
    a clock was ahead."""
    last: dict[bool, datetime.datetime] = {}
    after: Optional[datetime.datetime] = None
    for drill in reversed(drills):
        at = parse_time(drill.at, "drill")
        after = at if after is None else min(at, after - datetime.timedelta(seconds=1))
        last.setdefault(drill.verdict in PROVING, after)
    return last


def _newest(name: str, times: Iterable[str]) -> Iterator[Sample]:
    known = [when for text in times if (when := known_time(text)) is not None]
    if known:
        yield Sample(name, {}, _stamp(max(known)))


def _of_evidence(evidence: Evidence) -> Iterator[Sample]:
    content = evidence.content
    yield Sample("holdfast_drill_evidence_readable", {}, 0 if content is None else 1)
    if content is None:
        return
    told, asked = content.get("measured") or {}, content.get("objectives") or {}
    for name in ("rto", "rpo"):
        for family, value in (("drill", told.get(f"{name}_seconds")), ("objective", asked.get(name))):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield Sample(f"holdfast_{family}_{name}_seconds", {}, value)


def _stamp(when: datetime.datetime) -> Number:
    return int(when.timestamp())
