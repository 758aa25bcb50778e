# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that says where a recovery ends."""

from __future__ import annotations

import datetime
from typing import Any, Optional, Union

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target

MOMENT = datetime.datetime(2026, 11, 21, 0, 45, 12, 500000, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, Target("latest")),
        ({}, Target("latest")),
        ({"latest": True}, Target("latest")),
        ({"immediate": True}, Target("immediate")),
        ({"immediate": False, "latest": None, "name": "a"}, Target("name", name="a")),
        ({"time": "2026-11-21T01:45:12.5+01:00"}, Target("time", time=MOMENT)),
        ({"time": "2026-11-21 00:45:12.5Z", "inclusive": False}, Target("time", time=MOMENT, inclusive=False)),
        ({"lsn": "16/B374D848"}, Target("lsn", lsn=Lsn(0x16B374D848))),
        ({"xid": 4242}, Target("xid", xid=4242)),
        ({"xid": "4294967999", "inclusive": False}, Target("xid", xid=4294967999, inclusive=False)),
        ({"name": "before upgrade", "timeline": "current"}, Target("name", name="before upgrade", timeline="current")),
        ({"timeline": 10}, Target("latest", timeline=10)),
        ({"timeline": "10"}, Target("latest", timeline=10)),
        ({"timeline": "0x10"}, Target("latest", timeline=16)),
        ({"timeline": "0000000A", "latest": False}, None),
        ({"timeline": "0x0000000A", "inclusive": True}, Target("latest", timeline=10)),
    ],
)
def test_targets(option: Optional[dict[str, Any]], expected: Optional[Target]) -> None:
    if expected is None:
        with pytest.raises(BadOption, match="with 0x before it if it is hexadecimal"):
            Target.from_option(option)
    else:
        assert Target.from_option(option) == expected


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ({"time": "2026-11-21T01:45:12Z", "lsn": "0/5"}, r"target: \['time', 'lsn'\] are several targets"),
        ({"immediate": True, "latest": True}, r"\['immediate', 'latest'\] are several targets"),
        ({"time": "2026-11-21T01:45:12"}, "target.time: .* has no offset"),
        ({"time": "yesterday"}, "target.time: .* is not a time"),
        ({"lsn": "5"}, "target.lsn: '5' is not a position"),
        ({"xid": 2}, "target.xid: 2 is not a transaction's id"),
        ({"xid": "0x2A"}, "is not a transaction's id"),
        ({"xid": 2**64}, "is not a transaction's id"),
        ({"xid": True}, "is not a transaction's id"),
        ({"xid": "٣٣"}, "is not a transaction's id"),
        ({"name": " "}, "target.name: ' ' is not a restore point's name"),
        ({"name": "ü" * 32}, "of 1 to 63 bytes"),
        ({"timeline": 0}, "target.timeline: 0 is not a timeline"),
        ({"timeline": "newest"}, "is not a timeline"),
        ({"timeline": "0x"}, "is not a timeline"),
        ({"timeline": 2**32}, "is not a timeline"),
        ({"timeline": True}, "is not a timeline"),
        ({"inclusive": False}, "target.inclusive: False means nothing for the target latest"),
        ({"name": "a", "inclusive": False}, "means nothing for the target name"),
    ],
)
def test_bad_targets(option: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadOption, match=problem):
        Target.from_option(option)


def test_a_name_of_63_bytes_is_taken() -> None:
    assert Target.from_option({"name": "a" + "ü" * 31}).name == "a" + "ü" * 31


def test_the_option_is_called_as_its_user_calls_it() -> None:
    with pytest.raises(BadOption, match="^holdfast_pitr_target.lsn:"):
        Target.from_option({"lsn": "x"}, "holdfast_pitr_target")


@pytest.mark.parametrize(
    ("option", "settings", "words"),
    [
        ({}, {}, "the latest moment"),
        ({"immediate": True}, {"recovery_target": "immediate"}, "a backup's own end"),
        (
            {"time": "2026-11-21T01:45:12.5+01:00"},
            {"recovery_target_time": "2026-11-21 00:45:12.500000+00", "recovery_target_inclusive": "on"},
            "2026-11-21T00:45:12.500000Z",
        ),
        (
            {"lsn": "16/0b374d84", "inclusive": False},
            {"recovery_target_lsn": "16/B374D84", "recovery_target_inclusive": "off"},
            "the position 16/B374D84",
        ),
        ({"xid": 7}, {"recovery_target_xid": "7", "recovery_target_inclusive": "on"}, "transaction 7"),
        ({"name": "a'b"}, {"recovery_target_name": "a'b"}, 'the restore point "a\'b"'),
    ],
)
def test_settings_and_description(option: dict[str, Any], settings: dict[str, str], words: str) -> None:
    target = Target.from_option(option)
    assert (target.settings(), target.describe()) == (settings, words)


@pytest.mark.parametrize("timeline", ["latest", "current", 3])
def test_timelines(timeline: Union[str, int]) -> None:
    assert Target.from_option({"timeline": timeline}).timeline == timeline
