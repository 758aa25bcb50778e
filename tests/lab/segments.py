# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments of WAL without a server: a first page as PostgreSQL writes it, and noise behind it."""

from __future__ import annotations

import random
import struct
from pathlib import Path

MIB = 1 << 20
SYSTEM = 7123456789012345678


def name(number: int, timeline: int = 1, size: int = MIB) -> str:
    """What the segment is called."""
    high, low = divmod(number, (1 << 32) // size)
    return f"{timeline:08X}{high:08X}{low:08X}"


def content(number: int, timeline: int = 1, system: int = SYSTEM, seed: int = 0, size: int = MIB) -> bytes:
    """Bytes that are a segment's as far as its first page tells. Another ``seed`` is another content."""
    page = struct.pack("=HHIQI4xQII", 0xD110, 0x0002, timeline, number * size, 0, system, size, 8192)
    noise = random.Random(f"{number} {timeline} {seed}").randbytes(4096)
    return page + noise + bytes(size - len(page) - len(noise))


def write(
    directory: Path, numbers: range, timeline: int = 1, system: int = SYSTEM, seed: int = 0, size: int = MIB
) -> list[str]:
    """Put segments into a directory, and return their names."""
    made = []
    for number in numbers:
        made.append(name(number, timeline, size))
        (directory / made[-1]).write_bytes(content(number, timeline, system, seed, size))
    return made
