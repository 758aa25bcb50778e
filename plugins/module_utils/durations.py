# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them in backup guides: ``36h``, ``30d``, ``4w``, ``6m``, ``1y``."""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

# A month is 30 days and a year 365: a rule of retention, not a calendar.
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "m": 30 * 86400, "y": 365 * 86400}


def parse_duration(text: str, option: str) -> int:
    """Seconds in a duration such as ``1d12h``. Raises BadOption."""
    parts = re.findall(r"(\d+)(min|[shdwmy])", text)
    total = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not total:
        raise BadOption(
            option,
            text,
            "is not a duration",
            "Write numbers with units s, min, h, d, w, m (30 days) or y, like 36h or 30d.",
        )
    return total


def format_duration(seconds: float) -> str:
    """For people: ``2 h 10 min``, ``3.4 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds) % 60} s"
