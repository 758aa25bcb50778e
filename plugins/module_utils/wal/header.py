# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first page of a WAL segment tells. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

_LONG_HEADER = 0x0002  # XLP_LONG_HEADER: the page begins a segment
#: bytes of a segment that have its header
LENGTH = 40


class Header(NamedTuple):
    """``timeline`` is that of the page's first record: in the segment in which a timeline begins, an older one than its name says.
    ``position`` is that of the segment's first byte; ``segment_size`` is in bytes."""

    system_id: str
    timeline: int
    position: int
    segment_size: int


def read(segment: bytes) -> Optional[Header]:
    """The header in the first 40 bytes of a segment; None where there is none.

    Source: src/include/access/xlog_internal.h (XLogLongPageHeaderData), in the byte order of the server's host.
    """
    if len(segment) < LENGTH:
        return None
    _magic, info, timeline, position, _rest, identifier, size, _block = struct.unpack_from("=HHIQI4xQII", segment)
    return Header(str(identifier), timeline, position, size) if info & _LONG_HEADER else None


def system_id(segment: bytes) -> Optional[str]:
    """The system identifier alone."""
    header = read(segment)
    return header.system_id if header else None
