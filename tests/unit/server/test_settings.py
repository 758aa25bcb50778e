# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings are compared by what they mean."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import normalise


@pytest.mark.parametrize(
    ("value", "kind", "unit", "expected"),
    [
        ("1min", "integer", "s", "60"),
        ("60", "integer", "s", "60"),
        ("60s", "integer", "s", "60"),
        (" 60 s ", "integer", "s", "60"),
        ("1h", "integer", "s", "3600"),
        ("1d", "integer", "min", "1440"),
        ("0.5min", "integer", "s", "30"),
        ("90s", "integer", "min", "2"),  # PostgreSQL rounds too
        ("1GB", "integer", "8kB", "131072"),
        ("131072", "integer", "8kB", "131072"),
        ("1GB", "integer", "MB", "1024"),
        ("1TB", "integer", "kB", "1073741824"),
        ("4096B", "integer", "kB", "4"),
        ("0", "integer", "s", "0"),
        ("-1", "integer", "MB", "-1"),
        ("10", "integer", None, "10"),
        ("0.90", "real", None, "0.9"),
        ("2ms", "real", "ms", "2"),
        ("0.5ms", "real", "ms", "0.5"),
        ("1500us", "real", "ms", "1.5"),
        ("TRUE", "bool", None, "on"),
        ("1", "bool", None, "on"),
        ("No", "bool", None, "off"),
        ("always", "enum", None, "always"),
        ("cp %p /x/%f", "string", None, "cp %p /x/%f"),
    ],
)
def test_in_the_settings_own_unit(value: str, kind: str, unit: Optional[str], expected: str) -> None:
    assert normalise("a_setting", value, kind, unit) == expected


@pytest.mark.parametrize(
    ("value", "kind", "unit", "word"),
    [
        ("much", "integer", "MB", "not a number"),
        ("", "integer", "MB", "not a number"),
        ("1,5", "real", None, "not a number"),
        ("10s", "integer", "MB", "counted in MB"),
        ("10MB", "integer", "s", "counted in s"),
        ("10mb", "integer", "kB", "counted in kB"),  # units have their case
        ("10MB", "integer", None, "no unit"),
    ],
)
def test_what_postgresql_would_not_take(value: str, kind: str, unit: Optional[str], word: str) -> None:
    with pytest.raises(BadOption, match=word) as caught:
        normalise("a_setting", value, kind, unit)
    assert "a_setting" in str(caught.value)
