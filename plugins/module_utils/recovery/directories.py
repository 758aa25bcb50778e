# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a restored server go, and the moves by which they take the old ones' place."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, open_lock, put, read
from ansible_collections.holdfast.postgres.plugins.module_utils.server.interrupted import (
    STAGED,
    Interrupted,
    interrupted,
    journal,
)

WAL = "pg_wal"
PART = ".part"  # behind the name of what is being made: a backup of a chain
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
    """The directories of one restore, links to them resolved: ``data``; each tablespace's, by its oid; ``wal`` where pg_wal is a link,
    else None. Each is made beside its final place and takes it in the end by renames; what was there goes to a name with
    ``aside``. ``texts`` is what the links to them say, by oid (``WAL`` for pg_wal), where that is not the resolved path.

    ``late``: tablespaces, by oid, that replayed WAL makes at their own locations, and nowhere else. What is there has to go aside
    before that.

    Renames are written down before they are done, so that the next run can take back what a killed one did by half.
    """

    data: str
    tablespaces: dict[str, str]
    aside: str
    wal: Optional[str] = None
    texts: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    moved: list[tuple[str, str]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    _journal: dict[str, Any] = field(default_factory=dict)

    def staged(self, path: str) -> str:
        """Where it is made."""
        return path + STAGED

    @property
    def all(self) -> Sequence[str]:
        return [self.data, *self.apart.values()]

    @property
    def apart(self) -> Mapping[str, str]:
        """Those that the data directory has links to, by oid, and ``WAL``."""
        return {**self.tablespaces, **({WAL: self.wal} if self.wal else {})}

    def leftovers(self) -> list[str]:
        """What an interrupted restore left."""
        return [*(self.staged(path) for path in self.all if os.path.lexists(self.staged(path))), *self._parts()]

    def _parts(self) -> list[str]:
        """What was unpacked of a chain of backups, and of each one's tablespaces, before it was put together."""
        return sorted(glob.glob(f"{glob.escape(self.staged(self.data))}{PART}*"))

    def clear(self) -> None:
        """Remove what was being made."""
        for path in [*(self.staged(path) for path in self.all), *self._parts()]:
            shutil.rmtree(path, ignore_errors=True)

    def check(self) -> None:
        """Raises BadOption: nothing can take a directory's place, as a file system is mounted there."""
        for path in [*self.all, *(path for path in self.late.values() if not is_empty(path))]:
            if os.path.ismount(path):
                raise BadOption(
                    "data_directory",
                    path,
                    "is a mount point, so nothing can take its place",
                    "Restore into a directory below it, or mount the file system one level higher.",
                )

    # What is written down

    def begin(self, ran: bool, unit: Optional[str]) -> None:
        """From here on the old server is down: remember how it is started."""
        self._journal = {
            "ran": ran,
            "unit": unit,
            "done": False,
            "apart": dict(self.apart),
            "texts": self.texts,
            "late": self.late,
            "aside": self.aside,
        }
        self._write()

    def end(self) -> None:
        """Nothing has to be remembered any more."""
        self._journal = {}
        folder, name = os.path.split(self._journal_path)
        for found in os.listdir(folder):
            # A run that is killed while it writes leaves a file with its name and something behind it.
            if found == name or found.startswith(f".{name}."):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, found))

    @property
    def _journal_path(self) -> str:
        return journal(self.data)

    def _write(self) -> None:
        if self._journal:
            self._journal.update(moves=self.moved, made=self.made)
            put(self._journal_path, json.dumps(self._journal))

    def interrupted(self) -> Optional[Interrupted]:
        """What a killed run wrote down; None: there was none."""
        return interrupted(self.data)

    def take_back(self, owner: str) -> None:
        """Undo the moves that a killed run wrote down, and had done. How its server is started stays written down."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(read(self._journal_path))
            if not found["done"]:
                apart = dict(found["apart"])
                before = Directories(
                    self.data, apart, found["aside"], apart.pop(WAL, None), found["texts"], found["late"]
                )
                before.made = list(found["made"])
                # What replaying wrote where it made a tablespace goes: the old one's place is not taken by it.
                before.moved = [
                    (old, new)
                    for old, new in found["moves"]
                    if os.path.lexists(new) and (old in before.made or not _full(old))
                ]
                before.undo(owner)
                put(self._journal_path, json.dumps({**found, "moves": [], "made": []}))

    # The moves

    def make_room(self, owner: str) -> None:
        """Put aside what is where replayed WAL will make tablespaces. Raises ServerError."""
        try:
            for path in self.late.values():
                if not is_empty(path):
                    self._rename(path, path + self.aside)
                self.made.append(path)
                self._write()
                make_directory(path, owner)
        except OSError as exc:
            self.undo(owner)
            raise ServerError(f"{exc.filename} could not be put aside: {exc.strerror}. All is as it was.") from exc

    def swap(self, owner: str) -> None:
        """Put what was made in its place, and what was there aside. When a step fails, those before are undone. The data directory
        comes last: while it is away nothing can be started, half old and half new.

        Raises:
            ServerError: it could not be done; all is as it was.
        """
        staged = self.staged(self.data)
        kept = {key: path for key, path in self.apart.items() if _linked(staged, key)}
        try:
            if not is_empty(self.data):
                self._rename(self.data, self.data + self.aside)
            for key, path in self.apart.items():
                if path not in self.late.values():
                    self._away(path)
                    if key in kept:
                        self._rename(self.staged(path), path)
                if key not in kept:
                    shutil.rmtree(self.staged(path), ignore_errors=True)  # it was dropped before the target
            _link(staged, kept, owner, self.texts)
            # The old server's links would lead into the new one's tablespaces.
            _link(self.data + self.aside, self._kept_aside(), owner)
            if os.path.isdir(self.data):
                os.rmdir(self.data)
            self._rename(staged, self.data)
            self._journal.update(done=True)
            self._write()
        except OSError as exc:
            self.undo(owner)
            raise ServerError(
                f"The restored directories could not be put in place: {exc.strerror} ({exc.filename}). All is as it was."
            ) from exc

    def _kept_aside(self) -> dict[str, str]:
        """The directories of the old server's links, where they are now."""
        gone = {old: new for old, new in self.moved if new.endswith(self.aside)}
        return {key: gone[path] for key, path in {**self.apart, **self.late}.items() if path in gone}

    def _away(self, path: str) -> None:
        if not is_empty(path):
            self._rename(path, path + self.aside)
        elif os.path.isdir(path):
            os.rmdir(path)

    def _rename(self, old: str, new: str) -> None:
        self.moved.append((old, new))
        self._write()
        try:
            os.rename(old, new)
        except OSError:
            self.moved.pop()
            raise

    def undo(self, owner: str) -> None:
        """Take the moves back."""
        for path in self.made:
            shutil.rmtree(path, ignore_errors=True)
        self.made = []
        while self.moved:
            old, new = self.moved.pop()
            with contextlib.suppress(OSError):
                if os.path.isdir(old):
                    os.rmdir(old)
                os.rename(new, old)
        _link(self.data, {key: path for key, path in self.apart.items() if _linked(self.data, key)}, owner, self.texts)
        staged = self.staged(self.data)
        _link(staged, {key: self.staged(path) for key, path in self.apart.items() if _linked(staged, key)}, owner)
        _link(self.data, {key: path for key, path in self.late.items() if _linked(self.data, key)}, owner)

    @property
    def kept(self) -> list[str]:
        """Where the old directories are now."""
        return [new for _old, new in self.moved if new.endswith(self.aside)]


def _full(path: str) -> bool:
    return os.path.lexists(path) and not is_empty(path)


def _path(data: str, key: str) -> str:
    return os.path.join(data, *((WAL,) if key == WAL else ("pg_tblspc", key)))


def _linked(data: str, key: str) -> bool:
    return os.path.islink(_path(data, key))


def _link(data: str, apart: Mapping[str, str], owner: str, texts: Optional[Mapping[str, str]] = None) -> None:
    """Make the links of a data directory lead to what lies apart from it, as far as that is there."""
    entry = pwd.getpwnam(owner)
    for key, directory in apart.items():
        link = _path(data, key)
        if not os.path.isdir(directory) or not os.path.isdir(os.path.dirname(link)):
            continue
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink((texts or {}).get(key, directory), link)
        os.lchown(link, entry.pw_uid, entry.pw_gid)
