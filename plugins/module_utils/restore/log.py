# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was restored where, so that a second run of the same playbook changes nothing.

A database is known by its server's system identifier and its oid: one that was dropped and made again is another one.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectMissing, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository


class RestoreLog:
    """Notes in a folder of a repository."""

    def __init__(self, repository: Repository, folder: str) -> None:
        self._repository, self._folder = repository, folder

    def read(self, system_id: Optional[str], oid: Optional[int]) -> dict[str, Any]:
        """What was restored into a database; empty when nothing is known."""
        if system_id is None or oid is None:
            return {}
        try:
            content = json.loads(self._repository.read(self._key(system_id, oid)))
        except (ObjectMissing, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, system_id: Optional[str], oid: Optional[int], content: dict[str, Any]) -> Optional[str]:
        """Remember a restore. Returns a warning when that can't be done: a repository may be read-only on that day."""
        if system_id is None or oid is None:
            return "The restore could not be remembered (the role may not read the server's system identifier)."
        try:
            self._repository.write(self._key(system_id, oid), json.dumps(content, indent=1).encode())
        except RepositoryError as exc:
            return f"The restore could not be remembered, so a second run would do it again: {exc}"
        return None

    def _key(self, system_id: str, oid: int) -> str:
        return f"{self._folder}/{system_id}-{oid}.json"
