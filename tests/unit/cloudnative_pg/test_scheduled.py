# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calendars as the operator takes them, and ScheduledBackups of them."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.scheduled import (
    ScheduledRequest,
    calendar,
    manifest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("30 2 * * *", "0 30 2 * * *"),
        ("0 30 2 * * *", "0 30 2 * * *"),
        ("15 30 2 * * mon-fri", "15 30 2 * * mon-fri"),
        ("@daily", "0 0 0 * * *"),
        ("  */15 * * * 0 ", "0 */15 * * * 0"),
    ],
)
def test_six_fields(given: str, written: str) -> None:
    assert calendar(given) == calendar(given, "Etc/UTC") == written


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("* 30 2 * * *", "does not begin with one second"),
        ("0,30 30 2 * * *", "does not begin with one second"),
        ("2 * * *", "no calendar"),
        ("0 0 30 2 * * *", "no calendar"),
        ("61 2 * * *", "minute"),
        ("0 2 * * 7", "weekday|day of the week"),
        ("@every 1h", "no calendar"),
        ("", "no calendar"),
    ],
)
def test_what_is_none(given: str, said: str) -> None:
    """Each second of a minute would be a backup."""
    with pytest.raises(BadOption, match=said):
        calendar(given)


def test_a_time_zone_cannot_be_had() -> None:
    with pytest.raises(BadOption, match="has no time zone"):
        calendar("30 2 * * *", "Europe/Berlin")


def test_what_is_made() -> None:
    made = manifest(
        ScheduledRequest("nightly", "shop", "30 2 * * *", target="primary", suspended=True), "shops", "plugin"
    )
    assert made["spec"] == {
        "cluster": {"name": "shop"}, "method": "plugin", "target": "primary", "schedule": "0 30 2 * * *", "suspend": True,
        "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"}, "backupOwnerReference": "none",
    }  # fmt: skip
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "holdfast"
