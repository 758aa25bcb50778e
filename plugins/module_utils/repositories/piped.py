# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks that come one by one, as a stream that a program can read from."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections.abc import Generator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import MIB

_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ is there only from Python 3.10 on


class Piped(io.FileIO):
    """Blocks as a stream with a file descriptor, filled by a thread."""

    def __init__(self, blocks: Generator[bytes, None, None]) -> None:
        read_end, self._write_end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._write_end, _F_SETPIPE_SZ, MIB)
        super().__init__(read_end, "rb")
        self._blocks = blocks
        self._feeder = Background(self._feed)

    def _feed(self) -> None:
        try:
            for block in self._blocks:
                view = memoryview(block)
                while view:
                    view = view[os.write(self._write_end, view) :]
        except BrokenPipeError:
            return  # the reader has enough
        finally:
            os.close(self._write_end)
            self._blocks.close()

    def read(self, size: Optional[int] = -1) -> bytes:
        data = b"".join(iter(lambda: self._some(MIB), b"")) if size is None or size < 0 else self._some(size)
        return data

    def _some(self, size: int) -> bytes:
        data = super().read(size) or b""
        if not data and size:
            self._feeder.result()  # an end that is none
        return data

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._feeder.result()
