# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL of a store, fetched before a server recovers: PostgreSQL's ``restore_command`` is a plain cp from a private directory.

It lies in the data directory, so that it goes where that goes, and is gone with it; the command is relative to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import give, make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import HISTORY, classify, history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

DIRECTORY = "holdfast_wal"
#: PostgreSQL runs it in the data directory
COMMAND = f'cp "{DIRECTORY}/%f" "%p"'


def size_of(wal: Optional[WalArchive], runs: Iterable[Run], size: SegmentSize) -> int:
    """Bytes that the fetched segments take; 0 where PostgreSQL fetches them itself."""
    return sum(run.length for run in runs) * size.bytes if wal is not None and wal.fetched_ahead else 0


def fetch(
    wal: WalArchive,
    runs: Sequence[Run],
    size: SegmentSize,
    system_id: Optional[str],
    data: str,
    owner: str,
    progress: Progress,
) -> None:
    """Fetch segments and all histories into the data directory ``data``, for its ``owner``.

    Raises:
        WalError: one is not there, is damaged, or another server's.
        HoldfastError: the store failed.
    """
    directory = os.path.join(data, DIRECTORY)
    shutil.rmtree(directory, ignore_errors=True)
    make_directory(directory, owner)
    histories = [file.timeline for name in wal.names() if (file := classify(name, size)).kind == HISTORY]
    names = [history_name(timeline) for timeline in histories]
    names += [size.name(Segment(run.timeline, number)) for run in runs for number in range(run.first, run.last + 1)]
    progress.step("fetching WAL", len(names) * size.bytes)

    def one(name: str) -> None:
        path = os.path.join(directory, name)
        if not wal.fetch(name, path):
            raise WalError(f"{name} was in {wal.description} a moment ago, and cannot be fetched.")
        with open(path, "rb") as stream:
            whose = header.system_id(stream.read(header.LENGTH))
        if None not in (whose, system_id) and whose != system_id and not name.endswith(".history"):
            raise WalError(
                f"{name} in {wal.description} is of another server (system identifier {whose}) than the backup ({system_id})."
            )
        give(path, owner)

    with threads(wal.fetches) as pool:
        for number, _done in enumerate(pool.map(one, names), 1):
            progress.tell(number * size.bytes, None)


def forget(data: str) -> None:
    """Remove what was fetched: nothing recovers by it any more."""
    shutil.rmtree(os.path.join(data, DIRECTORY), ignore_errors=True)
