# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that makes a copy of a server consistent: whether each segment from its start to its end is there, and is that segment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import (
    missing_segments,
    needed_segments,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wrong_with
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    RepositoryError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken, says_nothing
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

_DEFAULT = 16 * 1024 * 1024


def segments_of(record: Record) -> list[str]:
    """The segments that a copy needs, first to last; nothing where its positions are not known."""
    return needed_segments(record, _size(record))


def _size(record: Record) -> SegmentSize:
    return SegmentSize(int(record.server.get("wal_segment_size") or _DEFAULT))


class WalCheck:
    """Looks into one archive, whose names are read once."""

    def __init__(self, wal: WalArchive, scratch: str) -> None:
        self._wal, self._scratch = wal, scratch
        self._names: Optional[set[str]] = None

    def there(self, record: Record) -> None:
        """Raises Broken: a segment is not in the archive; HoldfastError: it cannot be read."""
        size = _size(record)
        if self._names is None:
            self._names = {name[:24] for name in self._wal.names() if classify(name, size).kind == SEGMENT}
        needed = segments_of(record)
        missing = [name for name in needed if name not in self._names]
        if missing:
            # One that is not listed is a question: it may have come since, or the listing was short.
            missing = missing_segments(self._wal, needed, size)
        if missing:
            raise Broken("presence", _lacking(missing, self._wal.description))

    def read(self, record: Record) -> int:
        """Fetch each segment, and see by its first page and its length that it is that one. Returns how many bytes they have. Raises as ``there``."""
        path, done = os.path.join(self._scratch, "segment"), 0
        for name in segments_of(record):
            try:
                if not self._wal.fetch(name, path):
                    raise Broken("presence", _lacking([name], self._wal.description))
                with open(path, "rb") as stream:
                    head, length = header.read(stream.read(header.LENGTH)), os.fstat(stream.fileno()).st_size
            except (WalError, RepositoryError) as exc:
                if not _is_damage(exc):
                    raise
                raise Broken("content", str(exc)) from exc
            finally:
                if os.path.exists(path):
                    os.unlink(path)
            done += length
            system = record.server.get("system_id")
            wrong = wrong_with(name, head, length)
            if head is None or wrong:
                raise Broken("content", f"the WAL segment {name}, which it needs, is not that segment: {wrong}")
            if system and head.system_id != str(system):
                raise Broken(
                    "content", f"the WAL segment {name}, which it needs, is of another server ({head.system_id})"
                )
        return done


def _lacking(missing: Sequence[str], where: str) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"the WAL segment {missing[0]}{more}, without which it is not consistent, is not in {where}"


def _is_damage(exc: HoldfastError) -> bool:
    """Whether a segment that could not be fetched is damaged. A full disk of ours, and another passphrase, say nothing against it."""
    cause = exc.__cause__
    return not says_nothing(cause) if isinstance(cause, ToolError) else isinstance(exc, WalError)
