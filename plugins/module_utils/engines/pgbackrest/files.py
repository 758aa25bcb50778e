# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files and directories that pgBackRest works with, for the user who owns the server."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import fsync_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as


def is_there(path: str, text: str, mode: int, owner: str) -> bool:
    """Whether the file has this content, mode and owner. A symbolic link has not."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            status = os.fstat(stream.fileno())
            kept = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode
            return kept and status.st_uid == pwd.getpwnam(owner).pw_uid and stream.read() == text.encode()
    except OSError:
        return False


def write(path: str, text: str, mode: int, owner: str) -> None:
    """Replace a file at once. It belongs to the owner; a directory that is missing is made ours, for the owner to enter, so
    that nobody can put another in its place.

    Raises:
        ToolError: it cannot be written.
    """
    entry, directory = pwd.getpwnam(owner), os.path.dirname(path)
    try:
        if not os.path.isdir(directory):
            os.makedirs(os.path.dirname(directory), 0o755, exist_ok=True)
            os.mkdir(directory, 0o750)
            os.chown(directory, -1, entry.pw_gid)
        # mkstemp opens with O_EXCL and O_NOFOLLOW, and mode 0600.
        fd, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(text.encode())
                stream.flush()
                os.fchmod(fd, mode)
                if entry.pw_uid != os.geteuid():
                    os.fchown(fd, entry.pw_uid, entry.pw_gid)
                os.fsync(fd)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        fsync_directory(directory)
    except OSError as exc:
        raise ToolError(
            f"{path} cannot be written: {exc.strerror} ({exc.filename or directory}). Run this as root, or as {owner} with a "
            "config_dir that belongs to that user."
        ) from exc
    if not may(owner, "-r", path):
        raise ToolError(
            f"{owner}, who owns the server, cannot read {path}: a directory above it is closed to that user."
        )


def make_directory(path: str, owner: str) -> None:
    """Make a directory, and those above it that are missing, the owner's own. Raises ToolError: it cannot be made."""
    entry = pwd.getpwnam(owner)
    missing = [path]
    while not os.path.isdir(os.path.dirname(missing[0])):
        missing.insert(0, os.path.dirname(missing[0]))
    try:
        for place in missing:
            os.mkdir(place, 0o750)
            if entry.pw_uid != os.geteuid():
                os.chown(place, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except OSError as exc:
        raise ToolError(
            f"The directory {path} cannot be made: {exc.strerror}. Make it, and let it belong to {owner}."
        ) from exc


def may(owner: str, what: str, path: str) -> bool:
    """Whether the owner may read (``-r``) or write (``-w``) there."""
    return run_as(owner, ["test", what, path], timeout=60).returncode == 0
