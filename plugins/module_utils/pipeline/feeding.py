# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object's bytes into a program's pipe, with their sum made on the way."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator


def feed(blocks: Iterator[bytes], pipe: int, on_bytes: Callable[[int], None] = lambda size: None) -> tuple[str, int]:
    """Write all blocks into a pipe, which is closed then. Returns their sha256 and how many bytes they had, also where the program reads no
    further: it has all that it needs, or has failed and says so itself."""
    digest, size = hashlib.sha256(), 0
    with open(pipe, "wb", buffering=0) as stream:
        broken = False
        for data in blocks:
            digest.update(data)
            size += len(data)
            on_bytes(size)
            view = memoryview(data)
            with contextlib.suppress(BrokenPipeError):
                while view and not broken:
                    broken = True
                    view = view[stream.write(view) or 0 :]
                    broken = False
    return digest.hexdigest(), size
