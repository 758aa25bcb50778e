# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a metric that says that all is well, or anything, of what nobody knows. Members: nothing there; a store away; a role that may not see; no drill;
evidence that was changed; a backup from the future, failed, without its full one, in another repository; 0 for never; names with quotes; one sample twice.

Prometheus' own client reads each text.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import Drill
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import Alert
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, TierStatus
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge as healthy
from ansible_collections.holdfast.postgres.plugins.module_utils.status.metrics import (
    FAMILIES,
    MOVING,
    Evidence,
    Run,
    Sample,
    exposition,
    is_of,
    produce,
    said,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import Disk, Standing
from prometheus_client.parser import text_string_to_metric_families

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.timezone.utc)
STAMP = int(NOW.timestamp())
HOUR, DAY = 3600, 86400
RUN = Run("0.1.0", NOW, 0.5, ["disk"])
Key = tuple[str, tuple[tuple[str, str], ...]]


def iso(seconds: float) -> str:
    """So many seconds ago."""
    return (NOW - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def backup(name: str, age: float, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "id": name, "engine": "pgbackrest", "kind": "full", "engine_version": "2", "started_at": iso(age + 60), "stopped_at": iso(age),
        "server": {"name": "main", "system_id": "7", "timeline": 1}, "start_lsn": None, "stop_lsn": None,
        "scope": {"stored": 1000}, "consistency": {}, "databases": [], "compression": {}, "encryption": {"method": "aes256"},
        "artifacts": [], "created_by": "", "verified_at": iso(age), **changes,
    }  # fmt: skip
    return Record(**values)


def standing(*records: Record, **more: Any) -> Standing:
    found = Gathered(
        tiers=[TierStatus("disk", "/backups", len(records), 5000)],
        records={record.id: record for record in records},
        where={record.id: ["disk"] for record in records},
    )
    for name in ("wal", "verified", "failed", "failed_at", "hurt", "all_drills", "tiers", "where"):
        if name in more:
            setattr(found, name, more.pop(name))
    health = healthy(records, None, NOW, lambda record: None, (), found.failures())
    return Standing(found, health, NOW, **more)


def read(text: str) -> dict[Key, float]:
    """By Prometheus' own client, and by its own linter where that is here: names, labels but the server's, and values."""
    assert text.endswith("\n") and is_of(text, "main")
    promtool = shutil.which("promtool")
    if promtool:
        subprocess.run([promtool, "check", "metrics"], input=text.encode(), check=True)
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and FAMILIES[family.name] == family.documentation
        for sample in family.samples:
            assert sample.labels.pop("server_name") == "main" and sample.timestamp is None
            key = (sample.name.removeprefix("holdfast_"), tuple(sorted(sample.labels.items())))
            assert key not in found, "node_exporter refuses all of it"
            found[key] = sample.value
    return found


def metrics(
    seen: Optional[Standing], alerts: tuple[Alert, ...] = (), evidence: Optional[Evidence] = None
) -> dict[Key, float]:
    return read(produce("main", RUN, seen, alerts, evidence))


def names(found: dict[Key, float]) -> set[str]:
    return {name for name, _labels in found}


def only(found: dict[Key, float], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(value for _label, value in labels): value for (own, labels), value in found.items() if own == name}


BASIC = {"info", "scrape_timestamp_seconds", "scrape_duration_seconds", "status", "alerts", "repository_readable"}


def test_what_is_not_known_has_no_sample() -> None:
    nothing = metrics(None, (Alert("critical", "no_answer", "What backups there are is not known"),))
    assert names(nothing) == BASIC | {"alert"}
    assert only(nothing, "repository_readable") == {("disk",): 0} and only(nothing, "status") == {(): 2}
    assert only(nothing, "alert") == {("no_answer", "critical"): 1}
    assert only(nothing, "alerts") == {("critical",): 1, ("warning",): 0}
    empty = metrics(standing())
    assert names(empty) == BASIC | {"repository_backups_bytes"} and only(empty, "status") == {(): 0}
    away = metrics(standing(tiers=[TierStatus("disk", "/backups", error="it is away")]))
    assert names(away) == BASIC and only(away, "repository_readable") == {("disk",): 0}


def test_the_run_itself() -> None:
    found = metrics(standing())
    assert only(found, "info") == {("0.1.0",): 1} and only(found, "scrape_timestamp_seconds") == {(): STAMP}
    assert only(found, "scrape_duration_seconds") == {(): 0.5}


@pytest.mark.parametrize(
    ("records", "more", "last", "states"),
    [
        ([backup("b", HOUR)], {}, HOUR, (1, 0, 0)),
        ([backup("old", DAY), backup("b", HOUR)], {}, HOUR, (2, 0, 0)),
        ([backup("b", HOUR, verified_at=None)], {}, None, (0, 1, 0)),
        ([backup("old", DAY), backup("b", HOUR, verified_at=None)], {}, DAY, (1, 1, 0)),
        ([backup("old", DAY), backup("b", -DAY)], {}, DAY, (2, 0, 0)),  # from the future
        ([backup("old", DAY), backup("b", HOUR)], {"failed": {("b", "disk"): "one byte"}}, DAY, (1, 0, 1)),
        ([backup("old", DAY), backup("b", HOUR)], {"hurt": {("b", "disk"): "a part is missing"}}, DAY, (1, 0, 1)),
        ([backup("b", HOUR, parent="gone")], {}, None, (1, 0, 0)),
        ([backup("b", HOUR, engine="wal_g", verified_at=None)], {}, HOUR, (0, 1, 0)),  # its engine reads nothing back
    ],
)  # fmt: skip
def test_the_last_success(
    records: list[Record], more: dict[str, Any], last: Optional[float], states: tuple[int, int, int]
) -> None:
    found = metrics(standing(*records, **more))
    told = list(only(found, "backup_last_success_timestamp_seconds").values())
    assert told == ([] if last is None else [STAMP - last])
    assert ("backup_size_bytes" in names(found)) == ("backup_duration_seconds" in names(found)) == (last is not None)
    counts = {labels[2]: value for labels, value in only(found, "backups").items()}
    assert tuple(counts[state] for state in ("verified", "unverified", "failed")) == states


def test_each_repository_by_itself() -> None:
    """A full backup that only the other one has leads to nothing; a kind has a value of its own."""
    full, link = backup("full", 2 * DAY), backup("link", HOUR, kind="incremental", parent="full", pinned=True)
    tiers = [TierStatus("disk", "/backups"), TierStatus('s"3\\', "s3", error="away")]
    found = metrics(standing(full, link, tiers=tiers, where={"full": ["disk"], "link": ["disk", 's"3\\']}))
    assert only(found, "backup_last_success_timestamp_seconds") == {
        ("pgbackrest", "full", "disk"): STAMP - 2 * DAY, ("pgbackrest", "incremental", "disk"): STAMP - HOUR,
    }  # fmt: skip
    assert only(found, "repository_readable") == {("disk",): 1, ('s"3\\',): 0}
    assert only(found, "backups_pinned")["pgbackrest", "incremental", "disk"] == 1
    assert only(found, "backup_size_bytes")["pgbackrest", "full", "disk"] == 1000
    assert only(found, "backup_duration_seconds")["pgbackrest", "full", "disk"] == 60


def archive(end: Optional[str], *codes: tuple[str, str]) -> dict[str, Any]:
    stretch = {"start": iso(DAY), "end": end, "missing": 0, "last_segment": "1"}
    return {
        "tier": "disk",
        "windows": [{"timeline": 1, "stretches": [stretch]}],
        "findings": [{"level": level, "code": code, "text": code} for level, code in codes],
    }


def test_wal() -> None:
    known = archive(iso(30), ("error", "gap"), ("fine", "gap"), ("warning", "foreign"))
    found = metrics(standing(wal={**known, "archives": [known]}))
    assert only(found, "recovery_window_start_timestamp_seconds") == {("disk",): STAMP - DAY}
    assert only(found, "recovery_window_end_timestamp_seconds") == {("disk",): STAMP - 30}
    assert only(found, "wal_gaps") == {("disk",): 1}
    found = metrics(
        standing(wal={**known, "archives": [archive(None), {**archive(None), "tier": "s3", "windows": []}]})
    )
    assert only(found, "recovery_window_start_timestamp_seconds") == {("disk",): STAMP - DAY}
    assert "recovery_window_end_timestamp_seconds" not in names(found)
    assert only(found, "wal_gaps") == {("disk",): 0, ("s3",): 0}


@pytest.mark.parametrize(
    ("archiver", "expected"),
    [
        (None, {}),
        ({"mode": "off", "failing": False, "ready": 0}, {}),
        ({"mode": "on", "failing": True, "ready": None}, {"wal_archiving_failing": 1}),
        (
            {"mode": "on", "failing": False, "ready": 0, "oldest_ready_age": None, "lag_bytes": 0, "last_archived_at": iso(5)},
            {
                "wal_archiving_failing": 0, "wal_ready_files": 0, "wal_archive_lag_seconds": 0, "wal_archive_lag_bytes": 0,
                "wal_last_archived_timestamp_seconds": STAMP - 5,
            },
        ),
        (
            {"mode": "on", "failing": False, "ready": 2, "oldest_ready_age": 7.25, "lag_bytes": 32},
            {"wal_archiving_failing": 0, "wal_ready_files": 2, "wal_archive_lag_seconds": 7.25, "wal_archive_lag_bytes": 32},
        ),
        # How old they are is not known, which is not young.
        (
            {"mode": "on", "failing": False, "ready": 2, "oldest_ready_age": None, "lag_bytes": 32},
            {"wal_archiving_failing": 0, "wal_ready_files": 2, "wal_archive_lag_bytes": 32},
        ),
    ],
)  # fmt: skip
def test_what_the_server_says(archiver: Optional[dict[str, Any]], expected: dict[str, float]) -> None:
    found = metrics(standing(archiver=archiver))
    assert {name: value for (name, _labels), value in found.items() if name.startswith("wal_")} == expected


def drill(number: int, age: float, verdict: str, of: Optional[str] = "b") -> tuple[str, Drill]:
    return "disk", Drill(f"{number}", number, iso(age), verdict, of)


def test_proofs() -> None:
    """A drill that failed before it chose a backup counts as well; a later good one of the same backup does not hide the bad one."""
    found = metrics(
        standing(
            backup("b", 9 * DAY),
            verified={"b": iso(DAY), "a": iso(2 * DAY)},
            failed_at={"a": iso(HOUR)},
            all_drills=[drill(1, 5 * DAY, "pass"), drill(2, 4 * DAY, "fail"), drill(3, 3 * DAY, "missed"), drill(4, DAY, "fail", None)],
        ),
        evidence=Evidence({"measured": {"rto_seconds": 12.5, "rpo_seconds": None}, "objectives": {"rto": 60, "rpo": None}}),
    )  # fmt: skip
    assert only(found, "verify_last_success_timestamp_seconds") == {(): STAMP - DAY}
    assert only(found, "verify_last_failure_timestamp_seconds") == {(): STAMP - HOUR}
    assert only(found, "drill_last_success_timestamp_seconds") == {(): STAMP - 3 * DAY}
    assert only(found, "drill_last_failure_timestamp_seconds") == {(): STAMP - DAY}
    assert only(found, "drill_evidence_readable") == {(): 1}
    assert only(found, "drill_rto_seconds") == {(): 12.5} and only(found, "objective_rto_seconds") == {(): 60}
    assert not {"drill_rpo_seconds", "objective_rpo_seconds"} & names(found)
    # A clock that was set back between a pass and a failure: the alert compares the two.
    back = metrics(standing(backup("b", 9 * DAY), all_drills=[drill(1, DAY, "pass"), drill(2, 2 * DAY, "fail")]))
    assert only(back, "drill_last_failure_timestamp_seconds") == {(): STAMP - 2 * DAY}
    assert only(back, "drill_last_success_timestamp_seconds") == {(): STAMP - 2 * DAY - 1}
    changed = metrics(standing(), evidence=Evidence(None))
    assert only(changed, "drill_evidence_readable") == {(): 0} and "drill_rto_seconds" not in names(changed)
    strange = metrics(standing(), evidence=Evidence({"measured": {"rto_seconds": "soon"}, "objectives": {"rto": True}}))
    assert not {"drill_rto_seconds", "objective_rto_seconds"} & names(strange)


def test_room_and_what_is_expected() -> None:
    found = metrics(standing(disks={"disk": Disk(3, 10)}, every=90000))
    assert only(found, "repository_free_bytes") == {("disk",): 3} and only(found, "repository_used_bytes") == {
        ("disk",): 7
    }
    assert only(found, "backup_expected_interval_seconds") == {(): 90000}


def test_labels_are_few() -> None:
    """No ids, positions or times: a series for each backup would stay for ever."""
    records = [backup(f"b{number}", number * HOUR) for number in range(200)]
    found = metrics(standing(*records), tuple(Alert("warning", "slot", f"slot {number}") for number in range(50)))
    assert len(found) < 30 and only(found, "alerts")["warning",] == 50
    assert {label for _name, labels in found for label, _value in labels} == {
        "version", "severity", "rule", "tier", "engine", "kind", "state",
    }  # fmt: skip


def test_the_same_is_said_at_another_time() -> None:
    seen = standing(backup("b", HOUR), disks={"disk": Disk(3, 10)})
    text = produce("main", RUN, seen, (), None)
    later = Run("0.1.0", NOW + datetime.timedelta(hours=1), 0.7, [])
    other = standing(backup("b", HOUR), disks={"disk": Disk(2, 10)})
    assert text != produce("main", later, other, (), None)
    assert said(text) == said(produce("main", later, other, (), None))
    assert said(text) != said(
        produce("main", RUN, standing(backup("c", 2 * HOUR), disks={"disk": Disk(3, 10)}), (), None)
    )
    assert set(FAMILIES) >= MOVING


@pytest.mark.parametrize(
    "text",
    [
        "", "# HELP x y\n", "holdfast_status 1\n", 'holdfast_status{server_name="other"} 1\n', 'node_load1{server_name="main"} 1\n',
        'holdfast_status{server_name="main"} 1', 'holdfast_status{server_name="main"} 1\n{{ health.metrics }}\n',
    ],
)  # fmt: skip
def test_what_node_exporter_would_drop_is_none_of_ours(text: str) -> None:
    assert not is_of(text, "main")


def test_large_and_small_numbers_can_be_read() -> None:
    text = exposition(
        {"server_name": "main"},
        [
            Sample("holdfast_repository_free_bytes", {"tier": "a"}, 2**62),
            Sample("holdfast_drill_rto_seconds", {}, 1e-7),
        ],
    )
    assert set(read(text).values()) == {float(2**62), 1e-7}
