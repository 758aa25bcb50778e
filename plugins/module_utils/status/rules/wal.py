# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules over WAL: the moments that can be reached, and what waits to be archived."""

from __future__ import annotations

from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import (
    BAD,
    GOOD,
    UNKNOWN,
    Limits,
    Seen,
    Standing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.status.text import last_stretch
from ansible_collections.holdfast.postgres.plugins.module_utils.units import count, duration, known_time, moment, size


def window(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The moments that can be reached begin later than was promised, or have a gap."""
    wal = standing.found.wal
    if wal is None:
        return None
    stretch = last_stretch(wal)
    if stretch is None:
        return Seen(BAD, "no moment can be reached: no backup leads to the WAL", "Make a backup of the whole server.")
    begins = known_time(stretch["start"])
    if begins is None:
        return Seen(UNKNOWN, "from when on moments can be reached is not known")
    promised = limits["promised"]
    since = (standing.now - begins).total_seconds()
    text = f"any moment from {moment(begins, standing.now)} on"
    if promised is not None and since < promised:
        return Seen(
            BAD,
            f"{text}, which is {format_duration(since)}, and {format_duration(promised)} are promised",
            "Keep more backups and WAL: the retention decides.",
        )
    return Seen(GOOD, text)


def wal_lag(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Finished WAL waits for long to be archived."""
    archiver = standing.archiver
    if archiver is None or archiver.get("mode") in (None, "off"):
        return None
    waits, ready = archiver.get("oldest_ready_age"), archiver.get("ready")
    if ready is None:
        return Seen(
            UNKNOWN,
            "how many segments wait is not known: the role may not see it",
            "GRANT pg_monitor to it.",
            "warning",
        )
    if not ready or waits is None:
        return Seen(GOOD, "no segment waits")
    text = f"{count(ready, 'segment waits', 'segments wait')}, the oldest {duration(waits)}, {size(archiver.get('lag_bytes') or 0)}"
    if waits > limits["max_age"]:
        return Seen(BAD, text, "The server's log has the words of archive_command; pg_wal fills until it works.")
    return Seen(GOOD, text)
