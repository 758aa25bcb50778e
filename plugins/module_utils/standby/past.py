# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two servers have one past: the WAL before a position, read from both and compared.

Numbers of timelines prove nothing: two standbys that are promoted take the same one, and their histories may be equal to the letter.
The WAL itself differs: checkpoints and commits have times, records have checksums.
"""

from __future__ import annotations

import os
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position, Verdict
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

_WINDOW = 1 << 20  # bytes before the position that are compared; whole pages of it


def proven(
    local: Local,
    position: Position,
    verdict: Verdict,
    upstream: Upstream,
    slot: Optional[str],
    archive: bool,
    warnings: list[str],
) -> Verdict:
    """What the numbers say (``verdict``), proven by the WAL itself. ``slot``: the one that it is to have; ``archive``: WAL can be fetched from
    one, so that what the servers have no more need not be refused.

    Raises:
        HoldfastError: the upstream does not answer, or a history is damaged.
    """
    if not verdict.follows:
        return _before_the_fork(local, position, verdict, upstream) if verdict.rewindable else verdict
    switches = upstream.history(position.timeline).switches(position.timeline)
    begin = switches[-1].lsn if switches else Lsn(0)
    same = same_past(local.directory, position.timeline, position.lsn, begin, upstream)
    if same is False:
        return Verdict(
            False,
            f"its WAL before {position.lsn} is not the primary's: both call it timeline {position.timeline}, and each wrote its own",
        )
    had = local.settings().get("primary_slot_name")
    # Slots are not copied: one that is there was made for who followed this very server.
    if same or position.lsn <= begin or (had and had == slot and upstream.slot(had)):
        return verdict
    unproven = (
        f"its WAL before {position.lsn} of timeline {position.timeline} cannot be compared with the primary's, as one of them has it no "
        "more, so that one past is not proven"
    )
    if not archive:
        return Verdict(False, unproven)
    warnings.append(f"It follows, although {unproven}.")
    return verdict


def _before_the_fork(local: Local, position: Position, verdict: Verdict, upstream: Upstream) -> Verdict:
    """pg_rewind goes by numbers of timelines: where these deceive, it would make a server of two pasts."""
    now = upstream.position()
    common = common_past(own_history(local.directory, position.timeline), position, upstream.history(now.timeline), now)
    if common is None or same_past(local.directory, *common, upstream) is not False:
        return verdict
    return Verdict(
        False,
        f"{verdict.why}; and before that its WAL on timeline {common[0]} is not the primary's: each wrote its own",
    )


def same_past(directory: str, timeline: int, position: Lsn, begin: Lsn, upstream: Upstream) -> Optional[bool]:
    """Whether the WAL that ends at ``position`` of ``timeline`` in a data directory is the upstream's. ``begin``: where the timeline
    begins; what lies before it is another timeline's. None: one of them has it no more.

    Raises:
        ServerError: the upstream does not send it.
    """
    size = upstream.segment_size()
    first = max(begin, Lsn(max(position - _WINDOW, 0)))
    if position <= first:
        return None
    mine = _read(os.path.join(directory, "pg_wal"), timeline, first, position, size)
    if not mine:
        return None
    start = Lsn(position - len(mine))
    theirs = upstream.wal(timeline, start, len(mine))
    return None if theirs is None else theirs == mine


def own_history(directory: str, timeline: int) -> Timelines:
    """The timelines that led to one of a server here, as the file in its pg_wal tells; without it none are known. Raises WalError."""
    path = os.path.join(directory, "pg_wal", history_name(timeline))
    if timeline > 1 and os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as stream:
            return Timelines.from_texts({timeline: stream.read()})
    return Timelines({}, [timeline])


def common_past(
    mine: Timelines, local: Position, theirs: Timelines, upstream: Position
) -> Optional[tuple[int, Lsn, Lsn]]:
    """The last timeline that both histories call theirs: its number, how far it is both's, and where it begins; None: there is none. Pure."""
    found = None
    for one, other in zip(mine.ancestry(local.timeline), theirs.ancestry(upstream.timeline)):
        if one.timeline != other.timeline or one.begin != other.begin:
            break
        ends = (local.lsn if one.end is None else one.end, upstream.lsn if other.end is None else other.end)
        found = (one.timeline, min(ends), one.begin)
        if ends[0] != ends[1]:
            break
    return found


def _read(folder: str, timeline: int, first: Lsn, end: Lsn, size: SegmentSize) -> bytes:
    """As much of the WAL up to ``end`` as there is, from ``first`` on."""
    found = b""
    upto = int(end)
    while upto > first:
        segment = size.before(timeline, upto)
        begin = max(int(size.start(segment)), int(first))
        try:
            with open(os.path.join(folder, size.name(segment)), "rb") as stream:
                stream.seek(begin - int(size.start(segment)))
                part = stream.read(upto - begin)
        except OSError:
            break
        if len(part) < upto - begin:
            break
        found, upto = part + found, begin
    return found
