# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the server can still tell what has changed since a backup: its WAL summaries reach back to it without a gap. Pure.

Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-WAL-SUMMARY (from PostgreSQL 17 on). They lack where
summarize_wal was off for a time, where wal_summary_keep_time (10 days) has passed, and on a server that was promoted since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

#: what gap() is given
QUERY = "SELECT tli::int AS timeline, start_lsn::text AS start, end_lsn::text AS stop FROM pg_available_wal_summaries()"
STATE = "SELECT summarized_lsn::text AS lsn FROM pg_get_wal_summarizer_state()"


def gap(summaries: Iterable[tuple[int, int, int]], timeline: int, start: int, summarized: int) -> Optional[Lsn]:
    """The first position from ``start`` on that no summary (timeline, start, stop) is of, up to where the server has ``summarized``; what
    lies behind that it will summarize yet. None: there is none."""
    reached = start
    for begun, ended in sorted((begun, ended) for number, begun, ended in summaries if number == timeline):
        if begun > reached:
            break
        reached = max(reached, ended)
    return None if reached >= summarized else Lsn(reached)
