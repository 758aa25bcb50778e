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
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, open_lock, put, read
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.late import end_replaying, identity, somebodys
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.links import WAL, is_linked, relink
from ansible_collections.holdfast.postgres.plugins.module_utils.server.interrupted import (
    STAGED,
    Interrupted,
    interrupted,
    journal,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.neighbours import running_servers

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
    before that. ``made``: those that were given to the replaying, empty, each with its ``identity``.

    Renames are written down before they are done, so that the next run can take back what a killed one did by half.
    """

    data: str
    tablespaces: dict[str, str]
    aside: str
    wal: Optional[str] = None
    texts: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    moved: list[tuple[str, str]] = field(default_factory=list)
    made: dict[str, list[int]] = field(default_factory=dict)
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
        """Undo the moves that a killed run wrote down, and had done. How its server is started stays written down.

        Raises:
            ServerError: something is in the way that no run of ours put there, or a server runs; what could be done is done.
        """
        try:
            found = json.loads(read(self._journal_path))
            apart = dict(found["apart"])
            before = Directories(self.data, apart, found["aside"], apart.pop(WAL, None), found["texts"], found["late"])
            before.made = {str(path): list(was) for path, was in found["made"].items()}
            before.moved = [(str(move[0]), str(move[1])) for move in found["moves"]]
            done = found["done"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return
        if done:
            return
        end_replaying(before.staged(before.data))
        moves = [new for _old, new in before.moved if os.path.lexists(new)]
        if moves and os.path.realpath(self.data) in map(os.path.realpath, running_servers()):
            raise ServerError(
                f"Somebody has started the server in {self.data} since a recovery of it was killed, and what that had moved cannot be taken "
                f"back while it runs: stop it, and run this again. It lies in {', '.join(moves)}."
            )
        left = before.undo(owner)
        put(self._journal_path, json.dumps({**found, "moves": before.moved, "made": before.made}))
        if left:
            raise ServerError(f"A recovery of {self.data} was killed, and cannot be taken back: {' '.join(left)}")

    # The moves

    def make_room(self, owner: str) -> None:
        """Put aside what is where replayed WAL will make tablespaces. Raises ServerError."""
        try:
            for path in self.late.values():
                if not is_empty(path):
                    self._rename(path, path + self.aside)
                make_directory(path, owner)
                self.made[path] = identity(path)
                self._write()
            # Whoever starts the old server from here on, starts it with its own tablespaces.
            relink(self.data, self._kept_aside(), owner)
        except OSError as exc:
            raise ServerError(
                f"{exc.filename} could not be put aside: {exc.strerror}. {_as_it_was(self.undo(owner))}"
            ) from exc

    def swap(self, owner: str) -> None:
        """Put what was made in its place, and what was there aside. When a step fails, those before are undone. The data directory
        comes last: while it is away nothing can be started, half old and half new.

        Raises:
            ServerError: it could not be done; all is as it was.
        """
        staged = self.staged(self.data)
        kept = {key: path for key, path in self.apart.items() if is_linked(staged, key)}
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
            relink(staged, kept, owner, self.texts)
            # The old server's links would lead into the new one's tablespaces.
            relink(self.data + self.aside, self._kept_aside(), owner)
            if os.path.isdir(self.data):
                os.rmdir(self.data)
            self._rename(staged, self.data)
            self._journal.update(done=True)
            self._write()
        except OSError as exc:
            raise ServerError(
                f"The restored directories could not be put in place: {exc.strerror} ({exc.filename}). {_as_it_was(self.undo(owner))}"
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

    def undo(self, owner: str) -> list[str]:
        """Take the moves back, and remove what replaying made. Returns what cannot be, in sentences: somebody's files are in the way,
        and stay. What is still to be taken back stays in ``moved``."""
        theirs = self._remove_made()
        left: list[str] = []
        stuck: list[tuple[str, str]] = []
        while self.moved:
            old, new = self.moved.pop()
            if not os.path.lexists(new) or (old.endswith(STAGED) and _full(old)):
                continue  # it was written down, and not done
            try:
                if _full(old):
                    why = theirs.get(old, "has files in it that no recovery put there")
                    left.append(f"{old} {why}. What was there before lies in {new}: move one of them away.")
                    stuck.insert(0, (old, new))
                    continue
                if os.path.isdir(old):
                    os.rmdir(old)
                os.rename(new, old)
            except OSError as exc:
                left.append(f"{new} could not be moved back to {old}: {exc.strerror}.")
                stuck.insert(0, (old, new))
        self.moved = stuck
        aside = {old for old, _new in stuck}
        relink(
            self.data, {key: path for key, path in self.apart.items() if is_linked(self.data, key)}, owner, self.texts
        )
        staged = self.staged(self.data)
        relink(staged, {key: self.staged(path) for key, path in self.apart.items() if is_linked(staged, key)}, owner)
        late = {key: path for key, path in self.late.items() if is_linked(self.data, key) and path not in aside}
        relink(self.data, late, owner)
        return left

    def _remove_made(self) -> dict[str, str]:
        """Remove what replaying made at tablespaces' own locations. Returns why it was not, by path."""
        theirs = {}
        staged = self.staged(self.data)
        replayed = staged if os.path.isdir(staged) else self.data
        others = [self.data, self.data + self.aside] if replayed == staged else [self.data + self.aside]
        for oid, path in self.late.items():
            if path in self.made:
                why = somebodys(path, self.made[path], oid, replayed, others)
                if why is None:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    theirs[path] = why
        # What somebody has put in an empty place is theirs; where the old one's was, it is asked again.
        taken = {old for old, _new in self.moved}
        self.made = {path: was for path, was in self.made.items() if path in theirs and path in taken}
        return theirs

    @property
    def kept(self) -> list[str]:
        """Where the old directories are now."""
        return [new for _old, new in self.moved if new.endswith(self.aside)]


def _as_it_was(left: Sequence[str]) -> str:
    return " ".join(left) or "All is as it was."


def _full(path: str) -> bool:
    return os.path.lexists(path) and not is_empty(path)
