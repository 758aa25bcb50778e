# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory that a volume snapshot brought: it is where it is to be, and is told how to recover. Nothing is moved.

``backup_label`` shows that it is the backup's, and that nobody has started PostgreSQL there since: a recovery renames it as soon as it begins.
https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance

LABEL = "backup_label"
_WAY = (
    "Nothing was touched. Restore it into new claims (pvc_snapshot with state: restored and awaits_recovery: true), and mount each where the "
    "server had it."
)


class InPlace(Directories):
    """Made where it lies: a claim of its own, on which no server has run."""

    def staged(self, path: str) -> str:
        return path

    def leftovers(self) -> list[str]:
        return []

    def clear(self) -> None:
        """What fails leaves the files as the snapshot had them, but for the configuration, which the next run writes anew."""

    def check(self) -> None:
        """A mount point is as good as any other directory here."""

    def swap(self, owner: str) -> None:
        """It is in its place."""


def lock_of(directory: str) -> str:
    """What a run is alone in: the folder above may be the container's own, which nobody can write to."""
    return os.path.join(directory, "holdfast")


def check(record: Record, label: str, instance: Instance) -> None:
    """That the data directory is the one that the snapshot of ``record`` has, restored, and that nothing was started in it since.

    Raises:
        BadOption: it is not there, or another one.
        ServerError: it was started, or is of another server.
    """
    directory = instance.directory
    if not os.path.exists(os.path.join(directory, "PG_VERSION")):
        raise BadOption("data_directory", directory, f"has no server in it, and {record.id} was to lie there", _WAY)
    if instance.pid() is not None:
        raise ServerError(
            f"A server runs in {directory} (process {instance.pid()}), and the snapshot of {record.id} was to lie there. {_WAY}"
        )
    there = _text(os.path.join(directory, LABEL))
    if there is None or there.split() != label.split():
        why = f"has no {LABEL}" if there is None else f"has the {LABEL} of another backup"
        raise ServerError(
            f"{directory} {why}: it was started since, or is not what {record.id} has. Recovering from there would be silently corrupt. {_WAY}"
        )
    system_id, mine = instance.control().get("Database system identifier"), record.server.get("system_id")
    if mine and system_id != mine:
        raise ServerError(
            f"{directory} is of another server (system identifier {system_id}) than {record.id} ({mine}). {_WAY}"
        )
    _check_tablespaces(record.server.get("tablespaces") or (), directory)


def _check_tablespaces(tablespaces: Any, directory: str) -> None:
    missing = [str(one["location"]) for one in tablespaces if _is_missing(one, directory)]
    if missing:
        raise BadOption(
            "data_directory", directory, f"is there, and its tablespaces in {', '.join(missing)} are not",
            "Mount the claims that they lie on where the server had them.",
        )  # fmt: skip


def _is_missing(tablespace: Mapping[str, Any], directory: str) -> bool:
    location = str(tablespace["location"])
    return is_empty(location if location.startswith("/") else os.path.join(directory, location))


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None
