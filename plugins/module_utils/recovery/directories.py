# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a restored server go, and the moves by which they take the old ones' place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import open_lock, put

STAGED = ".holdfast-restore"  # behind a directory's name, while it is being made
MARKER = "holdfast.restore.json"  # in a data directory: what was restored there


def is_empty(path: str) -> bool:
    """Whether a directory has nothing, or is not there; what a file system makes by itself does not count."""
    try:
        return not set(os.listdir(path)) - {"lost+found"}
    except FileNotFoundError:
        return True


def read_marker(directory: str) -> Optional[dict[str, Any]]:
    """What was restored into a data directory; None: nothing by us."""
    try:
        with open(os.path.join(directory, MARKER), encoding="utf-8") as stream:
            found = json.load(stream)
        return found if isinstance(found, dict) else None
    except (OSError, ValueError):
        return None


def write_marker(directory: str, owner: str, content: Mapping[str, Any]) -> None:
    """Remember it there."""
    path = os.path.join(directory, MARKER)
    put(path, json.dumps(content, indent=1), owner)


@contextlib.contextmanager
def alone(directory: str) -> Iterator[None]:
    """Nobody else restores into the directory meanwhile. A run that is killed lets go.

    Raises:
        ServerError: somebody does.
    """
    path = f"{directory}{STAGED}.lock"
    fd = open_lock(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(fd), os.stat(path))  # else who held it has just ended
        except OSError:
            mine = False
        if not mine:
            raise ServerError(f"Another restore into {directory} is at work. Wait for its end.")
        try:
            yield
        finally:
            os.unlink(path)
    finally:
        os.close(fd)


@dataclass
class Directories:
    """The directories of one restore: ``data``, and each tablespace's, by its oid. Each is made beside its final place and
    takes it in the end by renames; what was there goes to a name with ``aside``."""

    data: str
    tablespaces: dict[str, str]
    aside: str
    moved: list[tuple[str, str]] = field(default_factory=list)

    def staged(self, path: str) -> str:
        """Where it is made."""
        return path + STAGED

    @property
    def all(self) -> Sequence[str]:
        return [self.data, *self.tablespaces.values()]

    def leftovers(self) -> list[str]:
        """What an interrupted restore left."""
        return [self.staged(path) for path in self.all if os.path.lexists(self.staged(path))]

    def clear(self) -> None:
        """Remove what was being made."""
        for path in self.all:
            shutil.rmtree(self.staged(path), ignore_errors=True)

    def check(self) -> None:
        """Raises BadOption: nothing can take a directory's place, as a file system is mounted there."""
        for path in self.all:
            if os.path.ismount(path):
                raise BadOption(
                    "data_directory",
                    path,
                    "is a mount point, so nothing can take its place",
                    "Restore into a directory below it, or mount the file system one level higher.",
                )

    def swap(self, owner: str) -> None:
        """Put what was made in its place, and what was there aside. When a step fails, those before are undone.

        Raises:
            ServerError: it could not be done; all is as it was.
        """
        try:
            for path in self.all:
                if not is_empty(path):
                    self._rename(path, path + self.aside)
                elif os.path.isdir(path):
                    os.rmdir(path)
                self._rename(self.staged(path), path)
            _link(self.data, self.tablespaces, owner)
            # The old server's links would lead into the new one's tablespaces.
            _link(self.data + self.aside, {oid: place + self.aside for oid, place in self.tablespaces.items()}, owner)
        except OSError as exc:
            self.undo(owner)
            raise ServerError(
                f"The restored directories could not be put in place: {exc.strerror} ({exc.filename}). All is as it was."
            ) from exc

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new)
        self.moved.append((old, new))

    def undo(self, owner: str) -> None:
        """Take the swap back."""
        while self.moved:
            old, new = self.moved.pop()
            with contextlib.suppress(OSError):
                os.rename(new, old)
        with contextlib.suppress(OSError):
            _link(self.data, self.tablespaces, owner)

    @property
    def kept(self) -> list[str]:
        """Where the old directories are now."""
        return [new for _old, new in self.moved if new.endswith(self.aside)]


def _link(data: str, tablespaces: Mapping[str, str], owner: str) -> None:
    """Make the links of a data directory lead to its tablespaces, as far as these are there."""
    entry = pwd.getpwnam(owner)
    for oid, place in tablespaces.items():
        link = os.path.join(data, "pg_tblspc", oid)
        if not os.path.isdir(place) or not os.path.isdir(os.path.dirname(link)):
            continue
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(place, link)
        os.lchown(link, entry.pw_uid, entry.pw_gid)
