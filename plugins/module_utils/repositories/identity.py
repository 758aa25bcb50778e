# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two repositories are one place, and whether two objects have one content: found out, not read off their names.

One directory has many names (links, mounts, ``localhost`` and ``127.0.0.1``, a bucket by two addresses), and equal sizes prove
nothing: segments of WAL all have one size.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository


def overlap(source: Repository, source_folder: str, target: Repository, target_folder: str, write: bool) -> bool:
    """Whether a folder (empty: all) of one repository is that of another, or lies in it. ``write``: an object is written into the
    target, looked for in the source, and deleted; without it only what is there already can be compared.

    Raises:
        HoldfastError: one of the two cannot be used.
    """
    if isinstance(source, FileRepository) and isinstance(target, FileRepository):
        return _nested(source.path_of(source_folder), target.path_of(target_folder))
    if type(source) is not type(target):
        # A store may keep its objects in a directory; then what is written into one is seen in the other.
        return write and _seen(source, source_folder, target, target_folder)
    if isinstance(source, ObjectRepository) and isinstance(target, ObjectRepository):
        below, above = source.full_folder(source_folder), target.full_folder(target_folder)
        if not below.startswith(above) and not above.startswith(below):
            return False  # in one bucket they are beside each other
        from_source, from_target = above[len(below) :].rstrip("/"), below[len(above) :].rstrip("/")
        source_folder, target_folder = _joined(source_folder, from_source), _joined(target_folder, from_target)
    if write:
        return _seen(source, source_folder, target, target_folder)
    return _known(source, source_folder, target, target_folder)


def _seen(source: Repository, source_folder: str, target: Repository, target_folder: str) -> bool:
    name = f"_probe/{secrets.token_hex(8)}"
    key = _joined(target_folder, name)
    target.write(key, name.encode())
    try:
        return source.stat(_joined(source_folder, name)) is not None
    finally:
        with contextlib.suppress(HoldfastError):
            target.delete(key)


def _known(source: Repository, source_folder: str, target: Repository, target_folder: str) -> bool:
    """By an object that both have: one and the same has one time and one tag; a copy is younger."""
    first = next(iter(source.list(source_folder)), None)
    if first is None:
        return False
    there = target.stat(_joined(target_folder, first.key[len(source_folder) :].lstrip("/")))
    return there is not None and (there.size, there.modified, there.tag) == (first.size, first.modified, first.tag)


def _nested(one: str, other: str) -> bool:
    """Whether a directory is another one, or lies in it, by whatever names."""
    return _is_above(one, other) or _is_above(other, one)


def _is_above(upper: str, lower: str) -> bool:
    lower = os.path.realpath(lower)
    while True:
        with contextlib.suppress(OSError):
            if os.path.samefile(upper, lower):
                return True
        if lower == "/":
            return False
        lower = os.path.dirname(lower)


def same_content(source: Repository, source_key: str, target: Repository, target_key: str) -> bool:
    """Whether two objects have one content, read from both. Raises HoldfastError."""
    return _sha256(source, source_key) == _sha256(target, target_key)


def _sha256(repository: Repository, key: str) -> bytes:
    digest = hashlib.sha256()
    for data in repository.blocks(key):
        digest.update(data)
    return digest.digest()


def _joined(folder: str, name: Optional[str]) -> str:
    return f"{folder}/{name}" if folder and name else folder or name or ""
