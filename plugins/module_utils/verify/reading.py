# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An artifact read back: its sum made, and its content shown to whoever knows what it should be, in flat memory."""

from __future__ import annotations

import hashlib
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background, ahead
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import CHUNK, Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.feeding import feed
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import says_nothing

_LOOK = 0.5  # seconds between two looks at programs that say nothing
#: seconds in which a program ends that has been given all there is; pg_restore goes round for ever at some damaged archives
_ENDS = 20.0


class Reader(Protocol):
    """Takes the content of an artifact, and raises ValueError where it is not what it should be."""

    def feed(self, data: bytes) -> None:
        """The next piece."""

    def end(self) -> object:
        """All of it came."""


@dataclass(frozen=True)
class WasRead:
    """What an artifact turned out to be: sum and bytes of what is stored, and what is wrong with its content (None: nothing, as far as it was
    looked at). ``unclear``: why a program could not look at it, which says nothing of it."""

    sha256: str
    size: int
    wrong: Optional[str]
    unclear: Optional[ToolError] = None


def read(
    repository: Repository,
    key: str,
    programs: Sequence[Command],
    reader: Optional[Reader],
    told: Callable[[int], None],
) -> WasRead:
    """Read an object through ``programs``, whose output goes to ``reader`` (None: nobody looks at it). ``told`` hears of the bytes that were read.

    Raises:
        ObjectMissing: there is none.
        RepositoryError: the store fails.
    """
    blocks = ahead(repository.blocks(key))
    if programs:
        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as source:
            feeding: Optional[Background[tuple[str, int]]] = None
            try:
                with Chain(programs, source) as chain:
                    source.close()  # so that we see when the programs are gone
                    feeding = Background(lambda: feed(blocks, write_end, told))
                    wrong, unclear = _through(chain, feeding, reader)
            except BaseException:
                if feeding is None:
                    os.close(write_end)
                raise
        sha256, size = feeding.result()
        return WasRead(sha256, size, wrong, unclear)
    digest, size, wrong = hashlib.sha256(), 0, None
    for data in blocks:
        digest.update(data)
        size += len(data)
        told(size)
        if reader is not None and wrong is None:
            wrong = _said(lambda data=data: reader.feed(data))  # type: ignore[misc]
    if reader is not None and wrong is None:
        wrong = _said(reader.end)
    return WasRead(digest.hexdigest(), size, wrong)


def _said(look: Callable[[], object]) -> Optional[str]:
    try:
        look()
    except ValueError as exc:
        return str(exc)
    return None


def _through(
    chain: Chain, feeding: Background[tuple[str, int]], reader: Optional[Reader]
) -> tuple[Optional[str], Optional[ToolError]]:
    """What is wrong with what the programs make, and what kept them from making it; they are ended where their reader has seen enough."""
    fd = chain.output.fileno()
    fed: Optional[float] = None
    while True:
        if feeding.done() and fed is None:
            fed = time.monotonic()
        if not select.select([fd], [], [], _LOOK)[0]:
            if (
                fed is not None
                and time.monotonic() - fed > _ENDS
                and all(p.poll() is not None for p in chain.processes[:-1])
            ):
                return f"{chain.commands[-1].name} comes to no end of it", None
            continue
        data = os.read(fd, CHUNK)
        if not data:
            break
        fed = None
        if reader is not None:
            wrong = _said(lambda data=data: reader.feed(data))  # type: ignore[misc]
            if wrong is not None:
                return wrong, None
    try:
        chain.finish()
    except ToolError as exc:
        return (None, exc) if says_nothing(exc) else (str(exc), None)
    return (None if reader is None else _said(reader.end)), None
