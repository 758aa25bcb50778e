# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which time a report is of. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.units import known_time


@dataclass(frozen=True)
class Period:
    """None: without an end there."""

    since: Optional[datetime.datetime] = None
    until: Optional[datetime.datetime] = None

    @classmethod
    def of(cls, since: Optional[str], until: Optional[str], now: datetime.datetime) -> Period:
        """From options: times with an offset, or how long before ``now``. Raises BadOption."""
        period = cls(_moment(since, "since", now), _moment(until, "until", now))
        if period.since and period.until and period.since >= period.until:
            raise BadOption("since", since, f"is not before until ({until})", "Nothing lies between them.")
        return period

    def has(self, text: object) -> bool:
        """Whether a time as records have it lies in it. One that cannot be read does, so that nothing is left out unseen."""
        there = known_time(text)
        if there is None:
            return True
        return (self.since is None or there >= self.since) and (self.until is None or there <= self.until)

    def describe(self) -> dict[str, Optional[str]]:
        """For programs."""
        return {
            "since": format_time(self.since) if self.since else None,
            "until": format_time(self.until) if self.until else None,
        }


def _moment(text: Optional[str], option: str, now: datetime.datetime) -> Optional[datetime.datetime]:
    if not text:
        return None
    if text[:4].isdigit() and "-" in text:
        return parse_time(text if len(text) > 10 else f"{text}T00:00:00Z", option)
    return now - datetime.timedelta(seconds=parse_duration(text, option))
