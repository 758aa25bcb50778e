# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_receivewal would go on behind, and must not: WAL of a life that the server left. It is put where pg_receivewal does not look, and all of it stays:
whole segments are packed, as what ships or fetches them knows them by that name too; what is not whole gets a name that begins with a dot.

Source: FindStreamingStart in pg_receivewal.c, which knows .gz, .lz4 and .partial.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment

#: a segment, and where pg_receivewal would go on behind its file
Place = tuple[Segment, Lsn]
_BLOCK = 1024 * 1024
_PACKED = Compression("zstd")


def newest(places: Iterable[Place]) -> Place:
    """The one that pg_receivewal goes on behind."""
    return max(places, key=lambda place: (place[0].number, place[0].timeline, place[1]))


def in_the_way(places: Mapping[str, Place], timeline: int, left: Mapping[int, Lsn]) -> list[str]:
    """The files, by name, that are past where a server on ``timeline`` left theirs; none, where pg_receivewal does not go on behind such a one. Pure.
    ``left``: the timelines before, and where each was left; one that is not among them was never this server's."""
    past = {
        name
        for name, (segment, behind) in places.items()
        # The segment in which it left is as much in the way, where it is whole: its end is past that.
        if segment.timeline != timeline and (segment.timeline not in left or behind > left[segment.timeline])
    }
    if not past or newest(places.values()) not in [places[name] for name in past]:
        return []
    return sorted(past)


def set_aside(directory: str, names: Sequence[str], owner: str) -> None:
    """Put files out of pg_receivewal's sight. Killed at any moment, none is lost, and the next run goes on.

    Raises:
        ServerError, ToolError: it cannot be done; what was not is as it was.
    """
    _PACKED.check()
    for name in names:
        try:
            if name.endswith(".partial"):
                _hide(directory, name)
            else:
                _pack(directory, name, owner)
        except OSError as exc:
            raise ServerError(
                f"{os.path.join(directory, name)}, which is in pg_receivewal's way, cannot be packed: {exc.strerror}. It is as it was. Is there room?"
            ) from exc
    files.fsync_directory(directory)


def _hide(directory: str, name: str) -> None:
    hidden, number = os.path.join(directory, f".left.{name}"), 0
    while os.path.lexists(hidden):
        number += 1
        hidden = os.path.join(directory, f".left.{name}.{number}")
    os.rename(os.path.join(directory, name), hidden)


def _pack(directory: str, name: str, owner: str) -> None:
    path, plain = os.path.join(directory, name), name[:24]
    packed = os.path.join(directory, f"{plain}{_PACKED.suffix}")
    unpacked = _sum(path)
    if not os.path.lexists(packed):
        new = os.path.join(directory, f".{plain}{_PACKED.suffix}.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                if os.geteuid() == 0:
                    entry = account(owner)
                    os.fchown(target.fileno(), entry.pw_uid, entry.pw_gid)
                with open(path, "rb") as source:
                    _through([*_unpacking(name), *_PACKED.compress()], source, target)
                target.flush()
                os.fsync(target.fileno())
            os.rename(new, packed)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
    if _sum(packed) != unpacked:
        raise ServerError(
            f"{packed} is there already, and is not {path}: two contents of one segment. Both are as they were. Look whose each is (pg_waldump), and move "
            "the wrong one away."
        )
    os.unlink(path)


def _unpacking(name: str) -> list[Command]:
    for method, suffix in SUFFIXES.items():
        if suffix and name.endswith(suffix):
            compression = Compression(method)
            compression.check()
            return compression.decompress()
    return []


def _sum(path: str) -> str:
    """Of what it unpacks to. Raises ToolError: it is damaged."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        _through(_unpacking(path), source, None, digest)
    return digest.hexdigest()


def _through(
    commands: Sequence[Command], source: BinaryIO, target: Optional[BinaryIO], digest: Optional[hashlib._Hash] = None
) -> None:
    if not commands:
        while data := source.read(_BLOCK):
            if digest is not None:
                digest.update(data)
        return
    with Chain(commands, source) as chain:
        while data := os.read(chain.output.fileno(), _BLOCK):
            if digest is not None:
                digest.update(data)
            if target is not None:
                target.write(data)
        chain.finish()
