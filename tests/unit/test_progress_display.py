# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress files as lines for people."""

from __future__ import annotations

import json
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.progress import line, parse

MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize(
    ("state", "silence", "host", "words"),
    [
        (
            {"activity": "dumping 'shop'", "bytes": 400 * MIB, "total": 1000 * MIB, "seconds": 2.0},
            0,
            None,
            "holdfast: dumping 'shop': 400 MiB of about 1.0 GiB, 200 MiB/s, about 3 s left",
        ),
        # Silent for two seconds: the rate falls, and what is left grows.
        (
            {"activity": "dumping 'shop'", "bytes": 400 * MIB, "total": 1000 * MIB, "seconds": 2.0},
            2,
            "db1",
            "holdfast [db1]: dumping 'shop': 400 MiB of about 1.0 GiB, 100 MiB/s, about 6 s left",
        ),
        # More than was expected, and nothing expected: no promise.
        ({"activity": "a", "bytes": 2 * MIB, "total": MIB, "seconds": 1}, 0, None, "holdfast: a: 2.0 MiB, 2.0 MiB/s"),
        ({"activity": "a", "bytes": 2 * MIB, "total": None, "seconds": 1}, 0, None, "holdfast: a: 2.0 MiB, 2.0 MiB/s"),
        ({"activity": "a", "bytes": 2 * MIB, "total": None, "seconds": 0}, 0, None, "holdfast: a: 2.0 MiB"),
        ({"activity": "gathering statistics", "bytes": 0, "seconds": 0}, 0, None, "holdfast: gathering statistics"),
        ({"activity": "gathering", "bytes": None, "seconds": 0.1}, 9.9, None, "holdfast: gathering, 10 s so far"),
        # Whatever a target says must not steer the terminal, nor break the line.
        ({"activity": "a\x1b[2Jb\nc", "bytes": "x", "total": [], "seconds": None}, 0, None, "holdfast: a?[2Jb?c"),
    ],
)
def test_lines(state: dict[str, Any], silence: float, host: Optional[str], words: str) -> None:
    assert line(state, silence, host) == words


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"done": false}', '{"activity": 1}'])
def test_nothing_to_say(text: str) -> None:
    assert parse(text) is None


def test_done_is_nothing_to_say() -> None:
    state = {"activity": "dumping", "done": False}
    assert parse(json.dumps(state)) == state
    assert parse(json.dumps({**state, "done": True})) is None
