# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that one user of this host alone may read: WAL-G's configuration, with its secrets."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file import fsync_directory


def is_there(path: str, data: bytes, owner: str) -> bool:
    """Whether the file has this content, this owner, and mode 0600. A symbolic link has not."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            status = os.fstat(stream.fileno())
            kept = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
            return kept and status.st_uid == pwd.getpwnam(owner).pw_uid and stream.read() == data
    except OSError:
        return False


def write(path: str, data: bytes, owner: str) -> None:
    """Replace the file at once. Its directory is made when it is missing, and what is in that is nobody's secret.

    Raises:
        ToolError: it cannot be written.
    """
    directory = os.path.dirname(path)
    entry = pwd.getpwnam(owner)
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        # mkstemp opens with O_EXCL and O_NOFOLLOW, and mode 0600.
        fd, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
        try:
            with os.fdopen(fd, "wb") as stream:
                if entry.pw_uid != os.geteuid():
                    os.fchown(fd, entry.pw_uid, entry.pw_gid)
                stream.write(data)
                stream.flush()
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
