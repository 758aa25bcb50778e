# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times always have an offset. One without is refused: nobody can know which hour it means."""

from __future__ import annotations

import datetime
import re

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


def utcnow() -> datetime.datetime:
    """Now, in UTC, whole seconds."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def format_time(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC with whole seconds: ``2026-11-21T01:45:12Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, option: str) -> datetime.datetime:
    """An aware time from ISO 8601 with ``Z`` or an offset.

    Raises:
        BadOption: it is no time, or has no offset.
    """
    # Python 3.9's fromisoformat knows neither Z nor offsets without minutes
    normal = re.sub(r"([+-]\d\d)$", r"\1:00", re.sub(r"[zZ]$", "+00:00", text.strip()))
    try:
        moment = datetime.datetime.fromisoformat(normal)
    except ValueError:
        raise BadOption(option, text, "is not a time", "Write it like 2026-11-21T01:45:12+01:00.") from None
    if moment.tzinfo is None:
        raise BadOption(
            option, text, "has no offset, so it could be any of 26 hours", f"Write {text}Z for UTC, or {text}+01:00."
        )
    return moment
