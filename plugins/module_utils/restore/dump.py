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
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.header import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Script


@dataclass
class Dump:
    """A dump of one database (``database`` None: the name is not known; ``cluster``: a pg_dumpall script).

    ``properties`` is its row of ``server.facts.databases``, ``contents`` its extensions and row counts, where known.
    ``raw_size`` is the bytes after decompression; None: unknown.

    Of a dump that another tool made, ``origin`` is its path, ``identity`` its content, ``archive`` its header, and ``by_name`` says that it was chosen by its
    name. What ``judge`` finds: ``script``, ``clause`` (encoding and locale for CREATE DATABASE), ``speaks_of`` (its database's own
    name), ``as_script`` (how to restore an archive by psql, where pg_restore cannot) and ``notes`` (for the user).
    """

    database: Optional[str]
    format: str
    streams: dict[str, Stream]
    properties: Optional[dict[str, Any]] = None
    contents: dict[str, Any] = field(default_factory=dict)
    raw_size: Optional[int] = None
    cluster: bool = False
    origin: Optional[str] = None
    identity: Optional[str] = None
    archive: Optional[Archive] = None
    by_name: bool = False
    script: Optional[Script] = None
    clause: Optional[str] = None
    speaks_of: Optional[str] = None
    as_script: Optional[Stream] = None
    notes: list[str] = field(default_factory=list)
    _state: Optional[list[tuple[int, ...]]] = field(default=None, repr=False)
    _files: list[str] = field(default_factory=list, repr=False)

    @property
    def stream(self) -> Stream:
        """The one stream of a dump that is no directory."""
        return next(iter(self.streams.values()))

    @property
    def shown(self) -> str:
        """For messages: its path, or its database."""
        return self.origin or f"the dump of {self.database!r}"

    @property
    def described(self) -> str:
        """What it is, for the plan and the result."""
        made = (self.archive.by if self.archive else None) or (self.script.by if self.script else None)
        kind = "a script of a whole cluster" if self.cluster else f"a dump in {self.format} format"
        of = f" of the database {self.speaks_of!r}" if self.speaks_of else ""
        by = f" by pg_dump {made.split()[0]}" if made else ""
        return f"{self.shown} ({kind}{of}{by})" if self.origin else self.shown

    def remember(self) -> None:
        """Note the state of its files, before it is read for the first time."""
        self._state = self._look()

    def unchanged(self) -> None:
        """Raise ToolError when its files have changed since: what was restored is not what was judged."""
        if self._state is not None and self._state != self._look():
            raise ToolError(f"{self.shown} has changed while it was read. Is a backup being written there? Try again.")

    def _look(self) -> list[tuple[int, ...]]:
        if self.origin is None:
            return []
        paths = [self.origin]
        if os.path.isdir(self.origin):
            paths += [os.path.join(self.origin, name) for name in sorted(os.listdir(self.origin))]
        return [_state(path) for path in paths]

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


def _state(path: str) -> tuple[int, ...]:
    """By what a file that has changed is known; nothing of one that is not there, such as behind a link."""
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def reading(path: str) -> Callable[[], BinaryIO]:
    """Opens a file."""
    return lambda: open(path, "rb")
