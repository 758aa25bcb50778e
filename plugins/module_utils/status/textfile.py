# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of metrics that node_exporter's textfile collector reads: one for each server, replaced at once."""

from __future__ import annotations

import os

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.status.metrics import is_of, said

#: who reads it is another user; nothing in it is secret
_MODE = 0o644


def _path(directory: str, server_name: str) -> str:
    """Raises BadOption."""
    if not os.path.isdir(directory):
        raise BadOption(
            "textfile_dir",
            directory,
            "is no directory",
            "Install node_exporter, and name what it was told by --collector.textfile.directory.",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise BadOption(
            "textfile_dir", directory, "cannot be written to", "Run this as its owner, or as root (become: true)."
        )
    return _of(directory, server_name)


def _of(directory: str, server_name: str) -> str:
    return os.path.join(directory, f"holdfast_{check_name('server_name', server_name)}.prom")


def keep(directory: str, server_name: str, content: str, check_mode: bool) -> tuple[str, bool]:
    """Write the file; its path, and whether it says something else than before.

    Raises:
        BadOption: there is no such directory, or ``content`` is nothing that node_exporter would read.
        ToolError: it cannot be written; the one before stays as it is.
    """
    path = _path(directory, server_name)
    if not is_of(content, server_name):
        # node_exporter drops the whole file for one line that it does not understand.
        told = f"are no metrics of {server_name}"
        raise BadOption("metrics", content[:60], told, "Give what backup_health returns as metrics.")
    changed = not _says_the_same(path, content)
    if not check_mode:
        files.put(path, content, mode=_MODE)
    return path, changed


def _says_the_same(path: str, content: str) -> bool:
    try:
        return said(files.read(path).decode("utf-8", "replace")) == said(content)
    except OSError:
        return False


def remove(directory: str, server_name: str, check_mode: bool) -> tuple[str, bool]:
    """Take the file away; its path, and whether there was one. Raises BadOption, ToolError."""
    path = _of(directory, server_name)
    if not os.path.lexists(path):
        return path, False
    if not check_mode:
        try:
            os.unlink(path)
            files.fsync_directory(directory)
        except OSError as exc:
            raise ToolError(f"{path} cannot be removed: {exc.strerror}. Run this as its owner, or as root.") from exc
    return path, True
