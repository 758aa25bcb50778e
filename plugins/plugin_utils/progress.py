# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the progress file of a run says, as one line for people."""

from __future__ import annotations

import json
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.units import duration, size


def parse(text: str) -> Optional[dict[str, Any]]:
    """What the file says. None: nothing worth a line, since the run has not begun or has ended."""
    try:
        state = json.loads(text)
    except ValueError:
        return None
    if not isinstance(state, dict) or state.get("done") or not isinstance(state.get("activity"), str):
        return None
    return state


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0


def _plain(text: str) -> str:
    """It comes from a target, which must not write to our terminal as it likes."""
    return "".join(char if char.isprintable() else "?" for char in text)


def line(state: dict[str, Any], silence: float = 0, host: Optional[str] = None) -> str:
    """One line. The file said the same for ``silence`` seconds, which slows the rate. ``host``: one of several."""
    activity = _plain(state["activity"])
    done, total = _number(state.get("bytes")), _number(state.get("total"))
    elapsed = _number(state.get("seconds")) + silence
    said = [f"holdfast [{host}]: {activity}" if host else f"holdfast: {activity}"]
    waiting = f"; waiting for {_plain(state['waiting'])}" if isinstance(state.get("waiting"), str) else ""
    if not done:
        return (f"{said[0]}, {duration(elapsed)} so far" if elapsed >= 1 else said[0]) + waiting
    # More than was expected: the total was wrong, and what is left is not known.
    expected = total >= done
    said.append(f"{size(done)} of about {size(total)}" if expected else size(done))
    if elapsed > 0:
        rate = done / elapsed
        said.append(f"{size(rate)}/s")
        if expected:
            said.append(f"about {duration((total - done) / rate)} left")
    return f"{said[0]}: {', '.join(said[1:])}{waiting}"
