# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file in a WAL archive is, by its name. Pure.

PostgreSQL archives segments, ``<segment>.partial`` (the last one of a timeline that ended in the middle of it, and what
pg_receivewal has not finished), ``<segment>.<offset>.backup`` (a note of a base backup) and ``<timeline>.history``. Engines
and compressors add to that: ``.gz``, ``.zst``, ``.gpg`` and so on, one after another; pgBackRest a SHA-1 (``-<40 digits>``)
before them; WAL-G keeps notes called ``<segment>_delta`` beside.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

SEGMENT, PARTIAL, BACKUP, HISTORY, NOTE, FOREIGN = "segment", "partial", "backup", "history", "note", "foreign"

SUFFIXES = ("gz", "lz4", "zst", "bz2", "xz", "lzma", "br", "snappy", "age", "gpg")
_NAME = re.compile(
    r"([0-9A-F]{8})(?:\.(history)|([0-9A-F]{8})([0-9A-F]{8})(?:\.(partial)|\.([0-9A-F]{8})\.backup|(_delta))?)"
    rf"(?:-([0-9a-f]{{40}}))?((?:\.(?:{'|'.join(SUFFIXES)}))*)"
)
_UNFINISHED = re.compile(r"(\.gz|\.lz4)\.partial$")  # pg_receivewal's own order


class WalName(NamedTuple):
    """A file of an archive.

    ``kind``: ``segment``, ``partial``, ``backup``, ``history``, ``note`` (WAL-G's own, of no use to PostgreSQL) or ``foreign``
    (all else). ``timeline`` is 0 and ``number`` 0 where the name has none. ``checksum``: the SHA-1 in pgBackRest's names.
    ``suffixes``: what was added, with its dots. ``offset``: bytes into the segment at which a base backup began.
    """

    kind: str
    timeline: int = 0
    number: int = 0
    checksum: Optional[str] = None
    suffixes: str = ""
    offset: Optional[int] = None

    @property
    def segment(self) -> Segment:
        """Of ``segment``, ``partial``, ``backup`` and ``note``."""
        return Segment(self.timeline, self.number)


_FOREIGN = WalName(FOREIGN)


def classify(name: str, size: SegmentSize) -> WalName:
    """What a file is. Folders before the name say nothing and may be there."""
    found = _NAME.fullmatch(_UNFINISHED.sub(r".partial\1", name), name.rfind("/") + 1)
    if found is None:
        return _FOREIGN
    digits, history, high, low, partial, offset, note, checksum, suffixes = found.groups()
    timeline = int(digits, 16)
    if not timeline:
        return _FOREIGN
    if history:
        # Timeline 1 has no ancestors, so no history.
        return WalName(HISTORY, timeline, 0, checksum, suffixes) if timeline > 1 else _FOREIGN
    position = int(low, 16)
    per_half = (1 << 32) // size.bytes
    if position >= per_half:
        return _FOREIGN
    kind = PARTIAL if partial else BACKUP if offset else NOTE if note else SEGMENT
    begin = int(offset, 16) if offset else None
    return WalName(kind, timeline, int(high, 16) * per_half + position, checksum, suffixes, begin)


def history_name(timeline: int) -> str:
    """``00000002.history``"""
    return f"{timeline:08X}.history"
