# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads a backup, so that no retention takes it away meanwhile.

A restore takes no lock: many may read at once, and beside a backup that is made. It leaves a note beside the backups with what
it reads, and keeps it fresh; who deletes looks for notes of the living. A note that cannot be written (credentials that only
read) keeps nobody from a restore, and is said.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import liveness
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import Here, describe, holder, myself
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Watch, read
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

FOLDER = "_readers"  # no backup's id: that begins with a letter or digit
ANY = "*"  # no backup's id either: somebody reads, and what is not known


class Reading:
    """A note that this run reads the backups ``ids``. Use as a context manager: it checks that they are still there, by ``is_there``, where
    their manifests do not lie on the shelf: an engine's own are known by the engine alone.

    Raises:
        CatalogError: one of them was deleted while the note was written.
    """

    def __init__(
        self,
        shelf: Shelf,
        ids: Sequence[str],
        purpose: str,
        warnings: list[str],
        is_there: Optional[Callable[[str], bool]] = None,
    ) -> None:
        self._is_there = is_there or (lambda name: shelf.read(name) is not None)
        self._shelf, self._ids, self._warnings = shelf, list(ids), warnings
        self._key = f"{shelf.name}/{FOLDER}/{secrets.token_hex(8)}.json"
        self._holder = {**myself(purpose), "ids": self._ids}
        self._ended = threading.Event()
        self._written = False

    def __enter__(self) -> Reading:
        try:
            self._write()
            self._written = True
        except HoldfastError as exc:
            self._warnings.append(
                f"That {', '.join(self._ids)} is being read could not be noted beside the backups, so that a retention may delete it "
                f"meanwhile: {exc}"
            )
            return self
        gone = [name for name in self._ids if not self._is_there(name)]
        if gone:
            self._forget()
            raise CatalogError(
                f"The backup {', '.join(gone)} was deleted a moment ago, by another run. Choose another one."
            )
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._written:
            self._forget()

    def _write(self) -> None:
        text = json.dumps({**self._holder, "alive_at": format_time(utcnow())})
        self._shelf.repository.write(self._key, text.encode())

    def _live(self) -> None:
        while not self._ended.wait(liveness.HEARTBEAT):
            with contextlib.suppress(HoldfastError):  # the store may be back in time
                self._write()
                if self._ended.is_set():
                    self._forget()

    def _forget(self) -> None:
        with contextlib.suppress(HoldfastError):
            self._shelf.repository.delete(self._key)


def readers(shelf: Shelf) -> dict[str, str]:
    """The backups that somebody living reads, each with who that is; ``ANY`` where a note does not tell what. Notes of the dead are
    removed. Raises RepositoryError."""
    found: dict[str, str] = {}
    here = Here.look()
    for info in list(shelf.repository.list(f"{shelf.name}/{FOLDER}")):
        # Beside a note may lie what its age is measured by.
        data: Optional[bytes] = read(shelf.repository, info.key) if info.key.endswith(".json") else None
        if data is None:
            continue
        if Watch(shelf.repository, info.key, here).is_dead(data):
            with contextlib.suppress(HoldfastError):
                shelf.repository.delete(info.key)
            continue
        ids = holder(data).get("ids")
        if isinstance(ids, list):
            found.update((str(name), describe(data)) for name in ids)
        else:
            found[ANY] = f"somebody whose note ({info.key}) cannot be read"
    return found
