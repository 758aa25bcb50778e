# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a repository is the one that it was: an empty mount point, another bucket or another disk looks like a new one.

The server's folder has a number of its own, made with its first backup; the host that backs up knows it too. Where the two
differ, and the last backup that this host made is not there either, something else is mounted there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

MARK = "_identity.json"  # no backup's id: that begins with a letter or digit


@dataclass(frozen=True)
class Known:
    """What this host remembers of a repository: its number, the device that it was on (a file repository), the last backup."""

    number: str
    device: Optional[str]
    last_backup: str
    stopped_at: str


class Identity:
    """Of the server's folder in a repository. ``state_dir`` is where this host remembers."""

    def __init__(self, shelf: Shelf, state_dir: str) -> None:
        self._shelf = shelf
        name = hashlib.sha256(f"{shelf.repository.description}\n{shelf.name}".encode()).hexdigest()[:32]
        self._path = os.path.join(os.path.expanduser(state_dir), "repositories", f"{name}.json")
        self._key = f"{shelf.name}/{MARK}"

    def check(self, records: list[Record], accept: bool, consent: Consent) -> Optional[str]:
        """Compare what is there with what is known here. Returns a warning, where the path has changed and its content has not.

        Raises:
            RepositoryError: this is not the repository that the last backup went to, and it was not said that a new one is meant.
        """
        try:
            known = self._remembered()
        except (OSError, ValueError, KeyError, TypeError) as exc:
            return (
                f"What this host remembers of {self._shelf.repository.description} cannot be read ({self._path}: {exc}), so that another "
                "repository in its place would not be noticed."
            )
        if known is None:
            return None
        device = self._device()
        if self.number() != known.number and known.last_backup not in [record.id for record in records]:
            if accept:
                return None
            disk = " It is another file system, too: is the disk mounted?" if device != known.device else ""
            refusal = RepositoryError(
                f"{self._shelf.name} in {self._shelf.repository.description} is not what this host backed up into before: the backup "
                f"{known.last_backup} ({known.stopped_at}) and all others are gone.{disk} Nothing was written. Mount it, or correct the "
                "path, bucket or prefix; if a new repository is meant, set accept_new_repository: true for one run."
            )
            consent.need(refusal, accept_new_repository=True)
            return None
        if device != known.device:
            return (
                f"{self._shelf.repository.description} is on another device ({device}) than at the last backup ({known.device}), with the "
                "backups that were there."
            )
        return None

    def mark(self) -> str:
        """The repository's number, which it is given if it has none. Raises RepositoryError."""
        number = self.number()
        if number is None:
            number = secrets.token_hex(8)
            self._shelf.repository.write(self._key, json.dumps({"number": number}).encode())
        return number

    def remember(self, record: Record) -> Optional[str]:
        """A backup was made: mark the repository, if it has no mark, and remember it here. Returns a warning where that cannot be
        done."""
        try:
            number = self.mark()
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            text = json.dumps(
                {
                    **asdict(Known(number, self._device(), record.id, record.stopped_at)),
                    "repository": self._shelf.repository.description,
                    "server_name": self._shelf.name,
                }
            )
            put(self._path, text + "\n", None)
        except (HoldfastError, OSError) as exc:
            return f"It could not be remembered which repository this is, so that another one in its place would not be noticed: {exc}"
        return None

    def number(self) -> Optional[str]:
        """The number by which this repository is told from others; None: it has none yet. Raises RepositoryError."""
        try:
            content = bounded.loads(bounded.read(self._shelf.repository, self._key, bounded.LARGEST_LOCK), 2)
        except (ObjectMissing, ValueError):
            return None
        number = content.get("number") if isinstance(content, dict) else None
        return number if isinstance(number, str) else None

    def _remembered(self) -> Optional[Known]:
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as stream:
            content = bounded.loads(stream.read(bounded.LARGEST_LOCK), 2)
            return Known(
                str(content["number"]), content["device"], str(content["last_backup"]), str(content["stopped_at"])
            )
        return None

    def _device(self) -> Optional[str]:
        if not isinstance(self._shelf.repository, FileRepository):
            return None
        with contextlib.suppress(OSError):
            number = os.stat(self._shelf.repository.root).st_dev
            return f"{os.major(number)}:{os.minor(number)}"
        return None
