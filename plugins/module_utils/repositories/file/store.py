# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory as a repository: a local disk, or an NFS or volume mount."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NoReturn, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background, threads
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    ObjectMissing,
    ObjectUnreadable,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import waiting_for
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import (
    Finding,
    ObjectInfo,
    Repository,
    Sink,
)

# What is not finished begins with this; listings leave it out.
_WAY_OUT = (
    "Run as the user whose it is (a play that runs as root, by -b, takes the owner of the server, or whom holdfast_become_user names), or "
    "change its owner or its mode."
)
UNFINISHED = ".unfinished-"
#: seconds that another process may hold the guard of a folder
GUARDED = 60.0

_NO_LOCKS = (
    " Its file system has no locks (flock), without which two runs at once cannot be kept apart: mount it with them (NFS 4, or a lock "
    "service for NFS 3), or use another one."
)
_BY_ERRNO = {
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.ESTALE: " The server of this network file system no longer knows it: mount it anew, then run this again.",
    errno.EIO: " The disk, or what is between, does not read or write as it should: look at the kernel's log. What is there is not touched.",
    errno.EROFS: " It was remounted read-only, which the kernel does after errors: look at its log.",
}

BLOCK = 1024 * 1024  # bytes
FLUSH = 64 * 1024 * 1024  # bytes that are written before the disk is asked to begin


class FileSink(Sink):
    """A file under a temporary name, renamed when it is on the disk. The disk is kept busy while more comes: else all of it
    would be waited for at the end."""

    def __init__(self, repository: FileRepository, path: str) -> None:
        self._repository = repository
        self._path = path
        self._directory = os.path.dirname(path)
        self._temporary = os.path.join(self._directory, f"{UNFINISHED}{os.path.basename(path)[:200]}")
        try:
            repository.make_folder(self._directory)
            with files.opened(self._directory) as directory:
                self._fd = files.open_new(directory, os.path.basename(self._temporary))
                repository.adopt(directory, os.path.basename(self._temporary))
        except OSError as exc:
            repository.fail("begin a file in", exc)
        self._unflushed = 0
        self._flush: Optional[Background[None]] = None

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            self._unflushed += len(data)
            if self._unflushed >= FLUSH and (self._flush is None or self._flush.done()):
                self._flushed()
                self._unflushed, fd = 0, self._fd
                self._flush = Background(lambda: os.fdatasync(fd))
        except OSError as exc:
            self._repository.fail("write to", exc)

    def _flushed(self) -> None:
        """Hear what the last flush has to say: the kernel tells an error of writing back only once."""
        if self._flush is not None:
            self._flush.result()

    def commit(self) -> None:
        self._finish(os.rename)

    def commit_new(self) -> bool:
        """``commit``, unless the name is taken: then False, and nothing is written. Raises RepositoryError."""
        try:
            self._finish(_link)
        except FileExistsError:
            return False
        return True

    def _finish(self, place: Callable[..., None]) -> None:
        try:
            self._flushed()
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            with files.opened(self._directory) as directory:
                names = os.path.basename(self._temporary), os.path.basename(self._path)
                place(*names, src_dir_fd=directory, dst_dir_fd=directory)
                files.sync(directory)
        except FileExistsError:
            self.abort()
            raise
        except OSError as exc:
            self.abort()
            self._repository.fail("finish a file in", exc)

    def abort(self) -> None:
        if self._fd >= 0:
            if self._flush is not None:
                self._flush.wait()
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def _link(source: str, target: str, **where: int) -> None:
    """Rename unless the name is taken. Raises FileExistsError, OSError."""
    try:
        os.link(source, target, follow_symlinks=False, **where)
    except (
        PermissionError
    ):  # a file system without links, as those of many shares: nobody else writes this name while we do
        if os.path.lexists(f"/proc/self/fd/{where['dst_dir_fd']}/{target}"):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target, **where)
        return
    os.unlink(source, dir_fd=where["src_dir_fd"])


class FileRepository(Repository):
    """Objects are files of mode 0600 below a directory that must exist.

    The directory itself is never made here: one that is missing is most likely a mount that is.
    """

    def __init__(self, path: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(path))
        self.description = f"the repository {self.root}"

    def check(self, write: bool) -> None:
        try:
            there = stat.S_ISDIR(os.stat(self.root).st_mode)
        except PermissionError:
            raise RepositoryError(
                f"{self.description} cannot be reached: {self._user()} may not enter a directory above it. {_WAY_OUT}"
            ) from None
        except OSError:
            there = False
        if not there:
            raise RepositoryError(
                f"{self.description} does not exist (or is not a directory). If it is a mount, mount it; "
                "else create it, or let the role holdfast.postgres.setup do so."
            )
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise RepositoryError(f"{self.description} cannot be read by {self._user()}. {_WAY_OUT}")
        if not write:
            return
        try:
            read_only = os.statvfs(self.root).f_flag & os.ST_RDONLY
        except OSError as exc:
            self.fail("look at", exc)
        if read_only:
            raise RepositoryError(f"{self.description} is mounted read-only. Mount it read-write.")
        if not os.access(self.root, os.W_OK):
            raise RepositoryError(f"{self.description} cannot be written by {self._user()}. {_WAY_OUT}")

    def sink(self, key: str, lasting: bool = False) -> Sink:
        return FileSink(self, self._path(key))

    def open(self, key: str) -> BinaryIO:
        try:
            return os.fdopen(files.open_read(self._path(key)), "rb")
        except FileNotFoundError:
            raise ObjectMissing(f"{key} is not in {self.description}.") from None
        except PermissionError as exc:
            raise ObjectUnreadable(
                f"{key} in {self.description} cannot be read by {self._user()}. Change its owner or its mode."
            ) from exc
        except OSError as exc:
            self.fail(f"read {key} from", exc)

    def blocks(self, key: str) -> Iterator[bytes]:
        """The next block is read while the one before is used: hashing and copying share the time."""
        with self.open(key) as stream, threads(1) as reader:
            fd = stream.fileno()
            coming = reader.submit(os.read, fd, BLOCK)
            while True:
                try:
                    data = coming.result()
                except OSError as exc:
                    self.fail(f"read {key} from", exc)
                if not data:
                    return
                coming = reader.submit(os.read, fd, BLOCK)
                yield data

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for directory, names in self._walk(self._path(prefix)):
            for name in names:
                if name.startswith(UNFINISHED):
                    continue
                path = os.path.join(directory, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                except OSError as exc:
                    self.fail("list", exc)
                yield ObjectInfo(os.path.relpath(path, self.root), status.st_size, status.st_mtime)

    def _walk(self, base: str) -> Iterator[tuple[str, Sequence[str]]]:
        """Every folder from ``base`` on, each once, with the names of its files. A folder may be a link to another disk. One that cannot be
        read is an error: what is in it must not be taken for gone. Raises RepositoryError."""

        def refuse(exc: OSError) -> None:
            if not isinstance(exc, (FileNotFoundError, NotADirectoryError)):
                self.fail("list", exc)

        seen: set[str] = set()
        for directory, folders, names in os.walk(base, onerror=refuse, followlinks=True):
            yield directory, names
            for name in list(folders):
                path = os.path.join(directory, name)
                if os.path.islink(path):
                    real, target = os.path.realpath(directory), os.path.realpath(path)
                    if target in seen or f"{real}/".startswith(f"{target}/"):
                        folders.remove(name)  # a circle
                    seen.add(target)

    def folders(self, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self._path(prefix)) as entries:
                yield from (entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as exc:
            self.fail("list", exc)

    def stat(self, key: str) -> Optional[ObjectInfo]:
        try:
            status = os.stat(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            self.fail(f"look at {key} in", exc)
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            with files.opened(os.path.dirname(path)) as directory:
                os.unlink(os.path.basename(path), dir_fd=directory)
                files.sync(directory)
        except FileNotFoundError:
            return
        except OSError as exc:
            self.fail(f"delete {key} from", exc)

    def delete_folder(self, prefix: str) -> None:
        path = self._path(prefix)
        try:
            with files.opened(os.path.dirname(path)) as directory:
                # (rmtree has a dir_fd of its own from Python 3.11 on. It follows no links below what it is given.)
                shutil.rmtree(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
                files.sync(directory)
        except FileNotFoundError:
            return
        except OSError as exc:
            self.fail(f"delete {prefix} from", exc)

    def path_of(self, folder: str) -> str:
        """The directory of a folder (empty: all)."""
        return self._path(folder)

    def forget_unfinished(self, prefix: str) -> None:
        for directory, names in self._walk(self._path(prefix)):
            for name in names:
                if name.startswith(UNFINISHED):
                    self.delete(os.path.relpath(os.path.join(directory, name), self.root))

    def swap(self, key: str, expected: Optional[bytes], new: Optional[bytes]) -> bool:
        path = self._path(key)
        try:
            self.make_folder(os.path.dirname(path))
            # The kernel lets go of flock when its holder dies, so this guard itself can never be stale.
            with os.fdopen(files.open_lock(f"{os.path.dirname(path)}/.guard"), "rb") as guard:
                with files.opened(os.path.dirname(path)) as directory:
                    self.adopt(directory, ".guard")
                with waiting_for(f"{os.path.dirname(path)}/.guard, which another process has locked"):
                    self._take(guard)
                try:
                    current: Optional[bytes] = self.read(key)
                except ObjectMissing:
                    current = None
                if current != expected:
                    return False
                if new is None:
                    self.delete(key)
                else:
                    self.write(key, new)
                return True
        except OSError as exc:
            self.fail(f"change {key} in", exc)

    def create(self, key: str, data: bytes) -> bool:
        sink = FileSink(self, self._path(key))
        try:
            sink.write(data)
            return sink.commit_new()
        except BaseException:
            sink.abort()
            raise

    def _take(self, guard: BinaryIO) -> None:
        """Lock the guard, which nobody holds for longer than it takes to write a small file. Raises RepositoryError, OSError."""
        end = time.monotonic() + GUARDED
        while True:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    raise RepositoryError(
                        f"Another process has locked {guard.name} for {round(GUARDED)} seconds, which takes a moment where it works: is it "
                        "stopped, or does it hang in the file system? (fuser, lslocks) Nothing was changed."
                    ) from None
                time.sleep(0.02)

    def free_bytes(self) -> Optional[int]:
        try:
            status = os.statvfs(self.root)
        except OSError as exc:
            self.fail("ask for the free space of", exc)
        return status.f_bavail * status.f_frsize

    def inspect(self, retention: int) -> Sequence[Finding]:
        mode = os.stat(self.root).st_mode
        free = self.free_bytes() or 0
        found = [Finding("fine", f"{free} bytes are free")]
        if mode & 0o007:
            found.append(
                Finding(
                    "warning",
                    f"every user of this host may enter {self.root} (mode {mode & 0o777:04o}): use 0700 or 0750",
                )
            )
        if os.path.ismount(self.root) or os.stat(self.root).st_dev != os.stat("/").st_dev:
            found.append(Finding("fine", "it is a disk of its own"))
        else:
            found.append(
                Finding(
                    "warning", f"{self.root} lies on the system's own disk: when that dies, the backups die with it"
                )
            )
        return found

    def make_folder(self, path: str) -> None:
        """Make a folder below the root, durably; the root itself must be there (OSError)."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        if path != self.root:
            self.make_folder(parent)
        elif not os.path.isdir(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        with contextlib.suppress(FileExistsError):
            files.mkdir(path)
            with files.opened(parent) as directory:
                self.adopt(directory, os.path.basename(path))

    def adopt(self, directory: int, name: str) -> None:
        """What root makes belongs to whom the repository belongs: a recovery runs as root, and the next backup, as the server's owner, has to
        write and delete beside it."""
        root = os.stat(self.root)
        if (
            os.geteuid() == 0
            and root.st_uid != 0
            and os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid == 0
        ):
            with contextlib.suppress(OSError):  # NFS may forbid it, and maps root to somebody anyway
                os.chown(name, root.st_uid, root.st_gid, dir_fd=directory, follow_symlinks=False)

    def fail(self, doing: str, exc: OSError) -> NoReturn:
        """Raise RepositoryError in the user's words."""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RepositoryError(
                f"{self.description} is full: cannot {doing} it ({os.strerror(exc.errno)}). "
                "Nothing that was there before is lost. Free some space, shorten the retention, or use a larger disk."
            ) from exc
        if not os.path.isdir(self.root):
            raise RepositoryError(
                f"{self.description} has disappeared: cannot {doing} it ({exc.strerror}). Is its disk still mounted?"
            ) from exc
        advice = _BY_ERRNO.get(exc.errno or 0, "")
        raise RepositoryError(
            f"Cannot {doing} {self.description}: {exc.strerror} ({exc.filename or self.root}).{advice}"
        ) from exc

    def _path(self, key: str) -> str:
        path = os.path.normpath(os.path.join(self.root, key))
        # The same keys as in the other stores, so that none is asked for here that has no meaning there.
        if key and any(part in ("", ".", "..") for part in key.split("/")):
            raise RepositoryError(f"The key {key!r} lies outside {self.description}. Its manifest cannot be trusted.")
        return path

    @staticmethod
    def _user() -> str:
        import getpass

        with contextlib.suppress(KeyError, OSError):
            return f"the user {getpass.getuser()}"
        return f"the user with id {os.getuid()}"
