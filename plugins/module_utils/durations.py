# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them in backup guides: ``36h``, ``30d``, ``4w``, ``6m``, ``1y``."""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

# Longest first. A month is 30 days and a year 365: a rule of retention, not a calendar.
_SECONDS = {"y": 365 * 86400, "m": 30 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "min": 60, "s": 1}
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _SECONDS))
_MONTHS, _BELOW_A_DAY = 2, (5, 6, 7)


def parse_duration(text: str, option: str) -> int:
    """Seconds in a duration such as ``1d12h``, each unit once and the longest first. Raises BadOption."""
    found = _DURATION.fullmatch(text)
    # Whoever writes 1m30s means a minute.
    if found and found[_MONTHS] and any(found.group(*_BELOW_A_DAY)):
        found = None
    total = sum(int(number or 0) * unit for number, unit in zip(found.groups(), _SECONDS.values())) if found else 0
    if not total:
        raise BadOption(
            option,
            text,
            "is not a duration above zero",
            "Write 36h, 30d or 1d12h: units y, m (a month, 30 days), w, d, h, min (minutes) and s, the longest first.",
        )
    return total


def format_duration(seconds: float) -> str:
    """For people, in at most two units: ``2 h 10 min``, ``30 d``, ``3.4 s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    large, small = ("min", "s") if whole < 3600 else ("h", "min") if whole < 86400 else ("d", "h")
    count, rest = divmod(whole, _SECONDS[large])
    rest //= _SECONDS[small]
    return f"{count} {large} {rest} {small}" if rest else f"{count} {large}"
