# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which applications were stopped for a server, beside its backups: what an annotation says too, where somebody takes that away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, ObjectMissing

NAME = "_applications.json"  # no backup's id: that begins with a letter or digit
_LARGEST = 4 * 1024 * 1024  # bytes
_ATTEMPTS = 20

Entries = dict[str, dict[str, Any]]


class StoppedApplications:
    """The record of a server's applications that are stopped, entries by uid."""

    def __init__(self, shelf: Shelf) -> None:
        self._repository = shelf.repository
        self._key = f"{shelf.name}/{NAME}"

    def entries(self) -> Entries:
        """By uid. Raises HoldfastError."""
        return self._read()[1]

    def add(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """On top of those that are there. Raises HoldfastError."""
        self._change(lambda there: {**there, **{str(one["uid"]): dict(one) for one in entries}})

    def remove(self, uids: Iterable[str]) -> None:
        """Those that run again. Raises HoldfastError."""
        gone = set(uids)
        self._change(lambda there: {uid: one for uid, one in there.items() if uid not in gone})

    def _read(self) -> tuple[Optional[bytes], Entries]:
        where = f"{self._key} in {self._repository.description}"
        try:
            data = bounded.read(self._repository, self._key, _LARGEST)
        except ObjectMissing:
            return None, {}
        try:
            found = bounded.loads(data)
            entries = {str(one["uid"]): dict(one, replicas=int(one["replicas"])) for one in found["stopped"]}
            if lacking := [key for one in entries.values() for key in ("kind", "namespace", "name") if key not in one]:
                raise KeyError(lacking[0])
        except (ValueError, KeyError, TypeError) as exc:
            raise CatalogError(
                f"The record of stopped applications, {where}, cannot be read: {exc}. The annotations holdfast.postgres/replicas say the same; "
                "move that object away, and go on by them."
            ) from exc
        return data, entries

    def _change(self, make: Callable[[Entries], Entries]) -> None:
        for _attempt in range(_ATTEMPTS):
            before, there = self._read()
            wanted = make(there)
            if wanted == there:
                return
            text = json.dumps({"stopped": list(wanted.values())}, indent=1).encode() if wanted else None
            if self._repository.swap(self._key, before, text):
                return
        raise CatalogError(f"{self._key} in {self._repository.description} is being changed by somebody all the time.")
