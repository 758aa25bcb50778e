# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed recovery left, in words for whoever comes to that server (CASES 2.16)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted


@pytest.mark.parametrize(
    ("left", "running", "parts"),
    [
        ({"ran": True, "unit": None, "done": False}, False, ("which is down", "pg_ctl -D", "takes back")),
        ({"ran": True, "unit": "pg@15", "done": False}, False, ("systemctl start pg@15",)),
        ({"ran": True, "unit": None, "done": False}, True, ("somebody has started the old server", ".journal")),
        ({"ran": True, "unit": None, "done": True}, True, ("archive_mode may be off", "run again")),
        ({"ran": False, "unit": None, "done": True}, False, ("not started: pg_ctl",)),
        ("not even json", False, ("was interrupted",)),
    ],
)
def test_what_is_told(tmp_path: Path, left: Any, running: bool, parts: tuple[str, ...]) -> None:
    data = str(tmp_path / "data")
    assert interrupted.told(data, running) is None and interrupted.steps(interrupted.interrupted(data), data) == []
    Path(interrupted.journal(data)).write_text(left if isinstance(left, str) else json.dumps(left))
    told = interrupted.told(data, running)
    assert told is not None and all(part in told for part in parts), told
    assert len(interrupted.steps(interrupted.interrupted(data), data)) == 1
