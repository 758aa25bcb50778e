# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, in words for the person who reads them at 3 a.m.

Each message is complete: what failed, on what, what it means for the data, the way out. Modules turn any
``HoldfastError`` into ``fail_json``; nothing else does.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """Anything that the user is told about."""


class BadOption(HoldfastError):
    """An option whose value cannot be used."""

    def __init__(self, option: str, value: object, problem: str, way_out: str) -> None:
        super().__init__(f"{option}: {value!r} {problem.rstrip('.')}. {way_out}")
        self.option = option


class ServerError(HoldfastError):
    """PostgreSQL refused, failed, or is not what it should be."""


class ToolError(HoldfastError):
    """A program is missing, of the wrong version, or failed."""


class RepositoryError(HoldfastError):
    """The place where backups are kept cannot be used."""


class ObjectLocked(RepositoryError):
    """The store forbids to delete an object: it is locked, or the credentials may not."""


class ObjectMissing(RepositoryError):
    """An object is not in the repository."""


class ObjectUnreadable(RepositoryError):
    """An object is in the repository, and the store does not hand it out: archived, or not for these credentials."""


class CatalogError(HoldfastError):
    """A manifest is missing, damaged, too new, or not what it says."""


class LockHeld(HoldfastError):
    """Another run works on the same server's backups."""


class WalError(HoldfastError):
    """The WAL archive is damaged, or does not hold what a recovery needs."""
