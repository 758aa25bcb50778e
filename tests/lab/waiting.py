# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what others do, and finding who does it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], Any], timeout: float = 60, every: float = 0.05) -> Any:
    """What the condition says, once that is true. An AssertionError after a time that is long enough on a busy machine."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come true in {timeout} s"
        time.sleep(every)
    return found


def pids(*parts: str) -> list[int]:
    """Processes whose command lines have all these parts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # ended meanwhile
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(part in line for part in parts):
                found.append(int(path.parent.name))
    return found
