# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at before a repository is trusted with a backup: can we, may others, and does it keep what it should."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectLocked,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding, Repository


@dataclass(frozen=True)
class Report:
    """What was found, as messages, by how bad it is."""

    errors: list[str]
    warnings: list[str]
    fine: list[str]


def probe(repository: Repository) -> list[Finding]:
    """Write a small object, read it back, and delete it.

    Raises:
        RepositoryError: it cannot be written, or what comes back is something else.
    """
    key, content = f"_probe/{secrets.token_hex(8)}", secrets.token_bytes(256)
    repository.write(key, content)
    found = [Finding("fine", "an object can be written")]
    try:
        if repository.read(key) != content:
            raise RepositoryError(
                f"{repository.description} gives back something else than was written ({key}). It cannot be trusted with a backup."
            )
        found.append(Finding("fine", "it comes back as it was written"))
    finally:
        with contextlib.suppress(HoldfastError):
            found.append(_delete(repository, key))
    return found


def _delete(repository: Repository, key: str) -> Finding:
    try:
        repository.delete(key)
    except ObjectLocked as exc:
        return Finding("warning", f"objects cannot be deleted, so retention cannot either: {exc}")
    return Finding("fine", "an object can be deleted")


def preflight(repository: Repository, write: bool, retention: int = 0) -> Report:
    """Everything that can be asked. ``write``: also by an object of our own; ``retention``: seconds that backups are to stay.

    Raises:
        HoldfastError: the repository cannot be used at all.
    """
    repository.check(write)
    found = [Finding("fine", "it can be listed")]
    found += probe(repository) if write else []
    found += repository.inspect(retention)

    def messages(level: str) -> list[str]:
        return [finding.message for finding in found if finding.level == level]

    return Report(messages("error"), messages("warning"), messages("fine"))
