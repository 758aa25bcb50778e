# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times always have an offset. One without is refused: nobody can know which hour it means."""

from __future__ import annotations

import datetime
import re

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

# A grammar of our own: fromisoformat of Python 3.9 knows neither Z nor +01 nor five digits of a second, which are what
# PostgreSQL writes, and later ones know more with each version.
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<minute>\d\d:\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?P<offset>[Zz]|(?P<hours>[+-]\d\d)(?::?(?P<minutes>[0-5]\d))?)?",
    re.ASCII,
)


def utcnow() -> datetime.datetime:
    """Now, in UTC. Not cut to seconds: what ended within this one would be from the future."""
    return datetime.datetime.now(datetime.timezone.utc)


def format_time(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC with whole seconds, what is below them dropped: ``2026-11-21T01:45:12Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_exact(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-21T01:45:12.250Z``. For what has an order within a second."""
    moment = moment.astimezone(datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def now() -> datetime.datetime:
    """Now, in UTC, to the microsecond."""
    return datetime.datetime.now(datetime.timezone.utc)


def parse_time(text: str, option: str) -> datetime.datetime:
    """A time in UTC, to the microsecond, from ISO 8601 with ``Z`` or an offset.

    Raises:
        BadOption: it is no time, or has no offset.
    """
    text = text.strip()
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        hours, minutes = found["hours"] or "+00", found["minutes"] or "00"
        fraction = (found["fraction"] or "")[:6].ljust(6, "0")
        moment = datetime.datetime.fromisoformat(
            f"{found['date']}T{found['minute']}:{found['second'] or '00'}.{fraction}{hours}:{minutes}"
        ).astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        raise BadOption(option, text, "is not a time", "Write it like 2026-11-21T01:45:12+01:00.") from None
    if not found["offset"]:
        raise BadOption(
            option, text, "has no offset, so it could be any of 26 hours", f"Write {text}Z for UTC, or {text}+01:00."
        )
    return moment
