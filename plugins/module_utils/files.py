# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on this host: written at once, with their owner and mode, and never through a link that somebody else laid.

Most of this runs as root, in directories that belong to the server's user. Whoever owns a directory can put a link where a file
is expected, at any moment. So each path is walked by file descriptors, component by component: as long as the directories
belong to root or to us, links in them are ours and are followed; below a directory that another may write to, a link counts only
where it leads to a directory of that same user, who could have written there anyway. Files themselves are made under a new name
(O_EXCL), get their owner by the descriptor, and are renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import NoReturn, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

_WALK = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC  # as far as that a directory need not be readable


def _foreign(status: os.stat_result) -> Optional[int]:
    """The user who may put what they like into a directory; None when that is root or we alone."""
    if status.st_uid not in (0, os.geteuid()):
        return status.st_uid
    # A group is other people where root works; an ordinary user's own group most often is that user alone.
    shared = 0o022 if os.geteuid() == 0 and status.st_gid != 0 else 0o002
    if status.st_mode & shared and not status.st_mode & stat.S_ISVTX:
        return -1  # a whole group, or everybody
    return None


def _step(parent: int, name: str) -> int:
    """Open the directory ``name`` in one that is open. Raises OSError (ELOOP: a link that is not followed)."""
    try:
        return os.open(name, _WALK | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as exc:
        # A link to a directory: ENOTDIR on Linux, with both flags.
        if exc.errno not in (errno.ELOOP, errno.ENOTDIR) or not _is_link(parent, name):
            raise
    here = os.fstat(parent)
    if _foreign(here) in (None, -1):
        # In /tmp and its like everybody may lay links; those of others are not followed (fs.protected_symlinks).
        maker = os.stat(name, dir_fd=parent, follow_symlinks=False).st_uid
        if maker in (0, os.geteuid()):
            return os.open(name, _WALK, dir_fd=parent)
    else:
        found = os.open(name, _WALK, dir_fd=parent)
        if os.fstat(found).st_uid == here.st_uid:
            return found
        os.close(found)
    raise OSError(errno.ELOOP, "a link of another user leads there, which is not followed", name)


def _is_link(parent: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int]:
    """A descriptor of a directory, to which no untrusted link led. Raises OSError."""
    found = os.open("/", _WALK)
    try:
        for name in [part for part in os.path.abspath(directory).split("/") if part]:
            try:
                deeper = _step(found, name)
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, directory) from exc
            os.close(found)
            found = deeper
        yield found
    finally:
        os.close(found)


def open_new(directory: int, name: str, mode: int = 0o600) -> int:
    """A descriptor of a file that is made, to be written; one of that name goes first. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory)


def open_lock(path: str) -> int:
    """A descriptor of a file for ``flock``, made where it is missing, and no link. Raises OSError."""
    with opened(os.path.dirname(os.path.abspath(path))) as directory:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(os.path.basename(path), flags, 0o600, dir_fd=directory)


def open_read(path: str) -> int:
    """A descriptor of a file, to be read: an ordinary one, to which no untrusted link led. Raises OSError."""
    with opened(os.path.dirname(os.path.abspath(path))) as directory:
        name = os.path.basename(path)
        try:
            # (O_NONBLOCK: a pipe that waits for a writer would hold us up.)
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except OSError as exc:
            if exc.errno != errno.ELOOP:
                raise OSError(exc.errno, exc.strerror, path) from exc
            found = _through_link(directory, name, path)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(errno.EINVAL, "is no ordinary file", path)
        os.set_blocking(found, True)
        return found


def _through_link(directory: int, name: str, path: str) -> int:
    found = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    here, maker = os.fstat(directory), os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
    trusted = maker in (0, os.geteuid()) if _foreign(here) in (None, -1) else os.fstat(found).st_uid == here.st_uid
    if trusted:
        return found
    os.close(found)
    raise OSError(errno.ELOOP, "is a link of another user, which is not followed", path)


def read(path: str, most: int = 16 * 1024 * 1024) -> bytes:
    """A file's content, of at most ``most`` bytes. Raises OSError: missing, a link of another user, larger."""
    with os.fdopen(open_read(path), "rb") as stream:
        found = stream.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
    return found


def is_there(path: str, content: Union[str, bytes], owner: str, mode: int = 0o600) -> bool:
    """Whether the file has this content, owner and mode. A symbolic link has not."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            status = os.fstat(stream.fileno())
            kept = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode
            return kept and status.st_uid == account(owner).pw_uid and stream.read() == _bytes(content)
    except OSError:
        return False


def put(
    path: str,
    content: Union[str, bytes],
    owner: Optional[str] = None,
    mode: int = 0o600,
    folder_mode: Optional[int] = None,
    durable: bool = True,
) -> None:
    """Replace a file at once and durably: it is there as a whole, with its owner and mode, or as it was. A link in its place is
    replaced, not followed.

    ``durable`` False: a power failure may take it; for what can be found out anew.
    ``folder_mode``: its directories are made where they are missing, ours, for the owner's group to enter; None: they must be there.

    Raises:
        ToolError: it cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    try:
        if folder_mode is not None:
            _make_all(folder, folder_mode, owner)
        with opened(folder) as directory:
            temporary = f".{name[:200]}.{secrets.token_hex(4)}"
            fd = open_new(directory, temporary)
            try:
                with os.fdopen(fd, "wb") as stream:
                    stream.write(_bytes(content))
                    stream.flush()
                    _give(fd, owner)
                    os.fchmod(fd, mode)
                    if durable:
                        os.fsync(fd)
                os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            if durable:
                sync(directory)
    except OSError as exc:
        _refuse(path, exc, owner)


def give(path: str, owner: str) -> None:
    """Make a file or directory the owner's own; a link itself, not what it leads to. Raises ToolError."""
    try:
        with opened(os.path.dirname(os.path.abspath(path))) as directory:
            entry = account(owner)
            os.chown(os.path.basename(path), entry.pw_uid, entry.pw_gid, dir_fd=directory, follow_symlinks=False)
    except OSError as exc:
        raise ToolError(f"{path} cannot be given to {owner}: {exc.strerror}. Run this as root, or as {owner}.") from exc


@contextlib.contextmanager
def temporary_directory(owner: str) -> Iterator[str]:
    """A directory of a user's own, gone at the end: for what a program writes that runs as that user, who may not write where its caller
    wants it. In /tmp, as TMPDIR may be our own alone."""
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/tmp") as directory:
        give(directory, owner)
        yield directory


def take_out(source: str, path: str) -> None:
    """Copy a file out of a directory that another user may write to, who could have put a link there, or a pipe, or another directory in
    its place. Raises OSError."""
    with os.fdopen(open_read(source), "rb") as stream, open(path, "wb") as target:
        shutil.copyfileobj(stream, target, 1024 * 1024)


def make_directory(path: str, owner: Optional[str] = None, mode: int = 0o700, ours_above: bool = False) -> None:
    """Make a directory, and those above it that are missing, the owner's own. One that is there stays as it is.

    ``ours_above``: those above it are ours, for everybody to pass, so that its owner can put nothing in the place of what others have there.

    Raises:
        ToolError: it cannot be made.
    """
    path = above = os.path.abspath(path)
    missing: list[str] = []
    while not os.path.isdir(above):
        missing.insert(0, above)
        above = os.path.dirname(above)
    try:
        for folder in missing:
            if ours_above and folder != path:
                mkdir(folder, 0o755)
            else:
                mkdir(folder, mode, owner, owner)
    except OSError as exc:
        raise ToolError(
            f"The directory {exc.filename or path} cannot be made: {exc.strerror}. Make it"
            + (f", for the user {owner}." if owner else ".")
        ) from exc


def mkdir(folder: str, mode: int = 0o700, owner: Optional[str] = None, group_of: Optional[str] = None) -> None:
    """Make one directory durably; ``group_of`` gets its group where it stays ours. One that is there stays as it is. Raises OSError."""
    above, name = os.path.split(folder)
    with opened(above) as directory, contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=directory)
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            _give(made, owner, group_of)
            os.fchmod(made, mode)
        finally:
            os.close(made)
        sync(directory)


def _make_all(folder: str, mode: int, group_of: Optional[str]) -> None:
    """Make directories ours, so that nobody can put another in their place, and let the owner's group in. Raises OSError."""
    if os.path.isdir(folder):
        return
    _make_all(os.path.dirname(folder), 0o755, None)
    mkdir(folder, mode, None, group_of)


def _give(fd: int, owner: Optional[str], group_of: Optional[str] = None) -> None:
    entry = account(owner or group_of) if owner or group_of else None  # type: ignore[arg-type]
    if entry and os.geteuid() != entry.pw_uid:
        os.fchown(fd, entry.pw_uid if owner else -1, entry.pw_gid)


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable, as a rename alone is not (fsync(2)). Raises OSError."""
    with opened(path) as directory:
        sync(directory)


def sync(directory: int) -> None:
    """The same, of an open one. Raises OSError."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_strange(directory: str, links: Sequence[str]) -> None:
    """Look through what was unpacked: ordinary files and directories alone, each under one name. ``links``: the paths, relative
    to it, at which a link may stand, such as ``pg_wal`` and ``pg_tblspc/*``.

    Raises:
        ToolError: something else is there.
    """
    for folder, folders, names in os.walk(directory):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            inner, status = os.path.relpath(path, directory), os.lstat(path)
            allowed = inner in links or os.path.join(os.path.dirname(inner), "*") in links
            if stat.S_ISLNK(status.st_mode) and allowed or stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                kind = "a link" if stat.S_ISLNK(status.st_mode) or status.st_nlink > 1 else "no ordinary file"
                raise ToolError(
                    f"{inner} in what was unpacked is {kind}, which PostgreSQL never puts there. Somebody changed this backup: "
                    "nothing of it was used. Take another one, and find out who can write to the repository."
                )


def _bytes(content: Union[str, bytes]) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")


def _refuse(path: str, exc: OSError, owner: Optional[str]) -> NoReturn:
    whom = (
        f" as root, or as {owner} with a directory that belongs to that user"
        if owner
        else " as a user who may write there"
    )
    raise ToolError(
        f"{path} cannot be written: {exc.strerror} ({exc.filename or path}). What was there is as it was. Run this{whom}."
    ) from exc


def is_open_to_others(status: os.stat_result) -> bool:
    """Whether more than who reads it now may read a secret's file. One that a cluster mounts from a Secret is root's, and readable by the group
    that the pod alone has (fsGroup): that is as private as it can be there."""
    mounted = status.st_uid == 0 != os.geteuid()
    return bool(status.st_mode & (0o037 if mounted else 0o077))
