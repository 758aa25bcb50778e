# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database's dump, wherever it lies: how to read it, and how to lay it out as files where pg_restore needs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import OnBytes
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream


@dataclass
class Dump:
    """A dump of one database (``database`` None: the name is not known; ``cluster``: a pg_dumpall script).

    ``properties`` is its row of ``server.facts.databases``, ``contents`` its extensions and row counts, where known.
    ``raw_size`` is the bytes after decompression; None: unknown.
    """

    database: Optional[str]
    format: str
    streams: dict[str, Stream]
    properties: Optional[dict[str, Any]] = None
    contents: dict[str, Any] = field(default_factory=dict)
    raw_size: Optional[int] = None
    cluster: bool = False
    _files: list[str] = field(default_factory=list, repr=False)

    @property
    def stream(self) -> Stream:
        """The one stream of a dump that is no directory."""
        return next(iter(self.streams.values()))

    @property
    def is_laid_out(self) -> bool:
        """Whether ``lay_out`` would return at once."""
        return bool(self._files)

    @contextlib.contextmanager
    def laid_out(self, scratch: str, on_bytes: OnBytes) -> Iterator[str]:
        """A path that pg_restore can seek in; removed afterwards. Raises what ``lay_out`` does."""
        try:
            yield self.lay_out(scratch, on_bytes)
        finally:
            self.clear()

    def lay_out(self, scratch: str, on_bytes: OnBytes) -> str:
        """Unpack the dump into ``scratch``, unless that is done, and return its path there.

        Raises:
            ToolError: there is too little space in ``scratch``, or a program failed.
        """
        base = os.path.join(scratch, "dump")
        if self._files:
            return base
        status = os.statvfs(scratch)
        free = status.f_bavail * status.f_frsize
        if self.raw_size is not None and self.raw_size > free:
            raise ToolError(
                f"Unpacking the dump takes {self.raw_size} bytes, and {scratch} has {free} left. Name a larger directory by "
                "scratch_dir, or restore a custom or tar dump with jobs: 1, which needs none."
            )
        try:
            if self.format == "directory":
                os.mkdir(base, 0o700)
            for name, stream in self.streams.items():
                self._files.append(os.path.join(base, name) if self.format == "directory" else base)
                stream.save(self._files[-1], on_bytes)
        except BaseException:
            self.clear()
            raise
        return base

    def clear(self) -> None:
        """Remove what ``lay_out`` made."""
        with contextlib.suppress(OSError):
            for path in self._files:
                os.unlink(path)
            if self.format == "directory" and self._files:
                os.rmdir(os.path.dirname(self._files[0]))
        self._files.clear()


def reading(path: str) -> Callable[[], BinaryIO]:
    """Opens a file."""
    return lambda: open(path, "rb")
