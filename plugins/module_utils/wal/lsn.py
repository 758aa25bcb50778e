# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions in the WAL. Pure."""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_LSN = re.compile("([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_LIMIT = 1 << 64


class Lsn(int):
    """A position in the WAL: bytes since its beginning, written like ``16/B374D848``. ``later - earlier`` is the distance in
    bytes, an ordinary int; ``Lsn(lsn + 1)`` is a position again."""

    __slots__ = ()

    def __new__(cls, position: int) -> Lsn:
        """Raises ValueError: the number does not fit into 64 bits."""
        if not 0 <= position < _LIMIT:
            raise ValueError(f"{position} is no position in the WAL: it has 64 bits")
        return super().__new__(cls, position)

    @classmethod
    def parse(cls, text: str, option: str) -> Lsn:
        """A position from what PostgreSQL takes as pg_lsn: two hexadecimal numbers of up to 8 digits each.

        Raises:
            BadOption: it is none.
        """
        found = _LSN.fullmatch(text)
        if found is None:
            raise BadOption(
                option,
                text,
                "is not a position in the WAL (an LSN)",
                "Write it like 16/B374D848, as pg_current_wal_lsn() and a backup's start_lsn and stop_lsn do.",
            )
        return cls(int(found[1], 16) << 32 | int(found[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"
