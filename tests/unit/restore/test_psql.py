# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What psql says, in any language (row 1.8)."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.psql import Failure, failures_in


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "psql:<stdin>:9: ERROR:  42P07: relation exists\nLOCATION:  x, y.c:1",
            [Failure(7, "42P07", "relation exists")],
        ),
        ("psql:<stdin>:9: FEHLER:  22012: Division durch Null", [Failure(7, "22012", "Division durch Null")]),
        ("psql:<stdin>:9: エラー:  42P01: x", [Failure(7, "42P01", "x")]),
        (
            "psql:<stdin>:9: ERREUR:  42P01: x\npsql:<stdin>:10: FATAL:  57P01: y",
            [Failure(7, "42P01", "x"), Failure(8, "57P01", "y")],
        ),
        ("psql:<stdin>:9: error: invalid command \\x", [Failure(7, None, "invalid command \\x")]),
        ("psql:<stdin>:9: NOTICE:  00000: import error: none", []),
        ("psql:<stdin>:9: WARNUNG:  01000: error: none", []),
        ("psql:<stdin>:9: INFO:  00000: psql:<stdin>:9: error", []),
        ("NOTICE:  error: none", []),
        ("psql: error: connection to server failed", []),  # psql ends with 2 then, and that is an error of its own
        ("", []),
    ],
)
def test_failures(said: str, found: list[Failure]) -> None:
    assert failures_in(said, 2) == found
