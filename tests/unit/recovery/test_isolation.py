# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of what could reach out, by version, place and action."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import (
    measures,
    neutral,
    without_acting,
)

EVERYTHING = {
    "archive_mode": "on",
    "synchronous_standby_names": "ANY 1 (a, b)",
    "synchronized_standby_slots": "a",
    "hot_standby": "off",
    "listen_addresses": "*",
    "external_pid_file": "/run/live.pid",
    "log_directory": "/var/log/live",
    "stats_temp_directory": "/run/live.stats",
    "shared_preload_libraries": "pg_stat_statements, $libdir/pg_cron",
    "ssl": "on",
    "ssl_passphrase_command": "echo secret",
}
ALWAYS = {"archive_mode", "synchronous_standby_names"}
BESIDE = {
    "listen_addresses", "external_pid_file", "log_directory", "shared_preload_libraries", "ssl_passphrase_command", "ssl",
}  # fmt: skip


@pytest.mark.parametrize(
    "major, in_place, keep, action, names",
    [
        (15, True, False, "promote", ALWAYS),
        (15, True, True, "promote", ALWAYS - {"archive_mode"}),
        (17, True, True, "promote", {"synchronous_standby_names", "synchronized_standby_slots"}),
        (15, True, False, "pause", ALWAYS | {"hot_standby"}),
        (15, False, False, "promote", ALWAYS | BESIDE),
        (14, False, False, "promote", ALWAYS | BESIDE | {"stats_temp_directory"}),
        (15, False, False, "pause", ALWAYS | BESIDE | {"hot_standby", "max_logical_replication_workers"}),
        (15, False, False, "shutdown", ALWAYS | BESIDE | {"max_logical_replication_workers"}),
    ],
)
def test_what_is_set(major: int, in_place: bool, keep: bool, action: str, names: set[str]) -> None:
    taken = {measure.what: measure for measure in measures(major, in_place, keep, action, EVERYTHING)}
    assert set(taken) == names
    assert all(measure.why and measure.switch_on for measure in taken.values())


def test_what_is_not_configured_needs_little() -> None:
    taken = measures(16, False, False, "promote", {})
    assert {measure.what: measure.value for measure in taken} == {
        "archive_mode": "off",
        "listen_addresses": "localhost",
    }
    assert {measure.switch_on for measure in taken} == {
        "ALTER SYSTEM RESET archive_mode", "ALTER SYSTEM RESET listen_addresses",
    }  # fmt: skip


@pytest.mark.parametrize(
    "libraries, left, acting",
    [
        ("", "", []),
        ("pg_stat_statements", "pg_stat_statements", []),
        ("pg_cron", "", ["pg_cron"]),
        ('pg_stat_statements,"pg_cron" , repmgr.so', "pg_stat_statements", ["pg_cron", "repmgr.so"]),
        ("$libdir/pg_squeeze, auto_explain", "auto_explain", ["$libdir/pg_squeeze"]),
    ],
)
def test_libraries(libraries: str, left: str, acting: list[str]) -> None:
    assert without_acting(libraries) == (left, acting)


def test_a_list_is_quoted_by_its_parts() -> None:
    taken = {measure.what: measure.switch_on for measure in measures(15, False, False, "promote", EVERYTHING)}
    assert taken["shared_preload_libraries"].endswith("= 'pg_stat_statements', '$libdir/pg_cron'")
    assert taken["synchronous_standby_names"].endswith("= 'ANY 1 (a, b)'")


def test_no_version_is_told_what_it_does_not_know() -> None:
    assert "promote_trigger_file" in neutral(15) and "promote_trigger_file" not in neutral(16)
    # The targets come before what they could contradict: PostgreSQL takes none, not even an empty one, after the one that counts.
    assert list(neutral(16))[:5] == [
        "recovery_target", "recovery_target_name", "recovery_target_time", "recovery_target_xid", "recovery_target_lsn",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("log", False),
        ("pg_log/2026", False),
        ("./..log", False),
        ("/var/log/live", True),
        ("../log", True),
        ("log/../../log", True),
    ],
)
def test_what_leads_out_of_the_data_directory(path: str, taken: bool) -> None:
    """The data directories of two servers most often have one parent, so that ``../log`` is one directory for both."""
    found = {"log_directory": path, "stats_temp_directory": path}
    names = {measure.what for measure in measures(14, False, False, "promote", found)}
    assert names & set(found) == (set(found) if taken else set())
