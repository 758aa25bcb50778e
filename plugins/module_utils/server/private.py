# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that one user of this host alone may read, such as how to get into a store."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import fsync_directory


def is_there(path: str, text: str, owner: str) -> bool:
    """Whether the file has this content, this owner, and mode 0600. A symbolic link has not."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as stream:
            found = os.fstat(stream.fileno())
            mine = found.st_uid == pwd.getpwnam(owner).pw_uid and stat.S_ISREG(found.st_mode)
            return mine and stat.S_IMODE(found.st_mode) == 0o600 and stream.read() == text
    except (OSError, ValueError):
        return False


def write(path: str, text: str, owner: str) -> None:
    """Replace the file at once. Its directory is made when it is missing; everybody may look into that.

    Raises:
        ToolError: it cannot be written.
    """
    directory, entry = os.path.dirname(path), pwd.getpwnam(owner)
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        # mkstemp opens with O_EXCL and O_NOFOLLOW, and mode 0600.
        fd, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                if entry.pw_uid != os.geteuid():
                    os.fchown(fd, entry.pw_uid, entry.pw_gid)
                stream.write(text)
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
            f"{path} cannot be written: {exc.strerror}. Run this as root, or as {owner} with a config_dir of that user's."
        ) from exc
