# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first page of a WAL segment tells. Pure."""

from __future__ import annotations

import struct
from typing import Optional

_LONG_HEADER = 0x0002  # XLP_LONG_HEADER: the page begins a segment


def system_id(segment: bytes) -> Optional[str]:
    """The system identifier in the first 40 bytes of a segment; None where that is none.

    Source: src/include/access/xlog_internal.h (XLogLongPageHeaderData), in the byte order of the server's host.
    """
    if len(segment) < 40:
        return None
    _magic, info, _timeline, _position, _rest, identifier = struct.unpack_from("=HHIQI4xQ", segment)
    return str(identifier) if info & _LONG_HEADER else None
