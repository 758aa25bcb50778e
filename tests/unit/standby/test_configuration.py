# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a standby, written and read again."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import rewrite
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    conninfo,
    differing,
    passline,
    read,
)

HARD = r"""it's a \"test\" = 'x' # no comment"""


def test_what_is_written_is_read() -> None:
    wanted: dict[str, Optional[str]] = {"restore_command": HARD, "port": "5433", "primary_slot_name": None}
    text = rewrite("# Do not edit\nport = '1'\nwork_mem = '4MB'\nprimary_slot_name = 'old'\n", wanted)
    assert read(text) == {"work_mem": "4MB", "restore_command": HARD, "port": "5433"}
    assert differing(read(text), wanted) == []


def test_the_last_one_counts() -> None:
    assert read("a = 'one'\nA = 'two' # here\nb 'three'\n#a = 'four'\nbroken = 'x\n") == {"a": "two", "b": "three"}


@pytest.mark.parametrize(
    ("current", "wanted", "names"),
    (
        ({"primary_conninfo": "host=a port=5432 user=b"}, {"primary_conninfo": "user='b' port=5432 host=a"}, []),
        ({"primary_conninfo": "host=a"}, {"primary_conninfo": "host=b"}, ["primary_conninfo"]),
        ({"primary_conninfo": "no conninfo"}, {"primary_conninfo": "host=b"}, ["primary_conninfo"]),
        ({}, {"primary_conninfo": "host=b"}, ["primary_conninfo"]),
        ({"primary_slot_name": "s"}, {"primary_slot_name": None}, ["primary_slot_name"]),
        ({"recovery_target_time": "yesterday"}, {}, ["recovery_target_time"]),
        ({"work_mem": "4MB"}, {}, []),
    ),
)
def test_differing(current: dict[str, str], wanted: dict[str, Optional[str]], names: list[str]) -> None:
    assert differing(current, wanted) == names


def test_connection() -> None:
    assert conninfo({"user": "a b", "host": "h"}) == conninfo({"host": "h", "user": "a b"}) == "host=h user='a b'"
    assert passline(r"a:b\c") == "*:*:*:*:a\\:b\\\\c\n"
