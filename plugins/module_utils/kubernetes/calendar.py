# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CronJob's calendar, as its controller reads it: when it is due next, and how often it was. Pure; the fields are cron.py's."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ansible_collections.holdfast.postgres.plugins.module_utils.cron import CRON_JOB, Fields, Unreadable
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_AS_FAR_AS = 5 * 366  # days, as the controller looks


@dataclass(frozen=True)
class Calendar:
    """The moments that five fields of cron name in a time zone; ``zone`` None: not known on this host."""

    fields: Fields
    zone: Optional[datetime.tzinfo]

    @staticmethod
    def parse(text: str, time_zone: str = "Etc/UTC") -> Calendar:
        """Raises BadOption: the API server would refuse it."""
        try:
            return Calendar(Fields.parse(text, CRON_JOB), _zone(time_zone))
        except Unreadable as exc:
            if not exc.what:
                raise BadOption(
                    "schedule",
                    text,
                    "is no calendar of cron",
                    "Write five fields, such as 30 2 * * *, and the zone in time_zone.",
                ) from exc
            raise BadOption(
                "schedule", text, f"has the {exc}", f"It takes {exc.takes}, lists, ranges and steps."
            ) from exc

    def after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """The moments after ``moment``, in UTC. Nothing where the zone is not known."""
        if self.zone is None:
            return
        first = moment.astimezone(self.zone).date()
        for number in range(_AS_FAR_AS):
            day = first + datetime.timedelta(days=number)
            for time in self.fields.on(day):
                local = datetime.datetime.combine(day, time, self.zone)
                when = local.astimezone(datetime.timezone.utc)
                # An hour that the clocks leave out is none.
                if when > moment and when.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    yield when

    def next(self, moment: datetime.datetime) -> Optional[datetime.datetime]:
        """The first one after ``moment``; None: there is none within five years, or nobody knows."""
        return next(self.after(moment), None)


def _zone(name: str) -> Optional[datetime.tzinfo]:
    # "Local" and an empty one are what the API server refuses (kubernetes.io, "CronJob").
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]*", name) or name.lower() == "local":
        raise BadOption(
            "time_zone",
            name,
            "is no name of a time zone",
            "Write it as the tz database does, such as Europe/Berlin or Etc/UTC.",
        )
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.timezone.utc if name in ("UTC", "Etc/UTC") else None
