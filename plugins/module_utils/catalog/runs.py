# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a cluster did, whole, beside a server's backups: a pod's log rotates and goes with the pod, and what it may say as it ends is
4096 bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError

FOLDER = "_runs"  # no backup's id: that begins with a letter or digit
#: so many records stay, the newest
KEPT = 100
_LARGEST = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class RunKey:
    """Where a record is: its key in the repository, and the sha256 of its bytes."""

    key: str
    sha256: str


def write(shelf: Shelf, run_id: str, content: Mapping[str, Any]) -> RunKey:
    """Write a run's record, and delete the oldest ones beyond ``KEPT``. Raises HoldfastError."""
    key = f"{shelf.name}/{FOLDER}/{check_name('run_id', run_id)}.json"
    data = json.dumps(content, indent=1, default=str).encode()
    shelf.repository.write(key, data)
    written = RunKey(key, hashlib.sha256(data).hexdigest())
    there = sorted(shelf.repository.list(f"{shelf.name}/{FOLDER}"), key=lambda item: (item.modified, item.key))
    for item in there[:-KEPT]:
        if item.key != key:
            shelf.repository.delete(item.key)
    return written


def read(shelf: Shelf, where: RunKey) -> dict[str, Any]:
    """A run's record.

    Raises:
        ObjectMissing: it is not there.
        CatalogError: it is not what the run wrote.
    """
    data = bounded.read(shelf.repository, where.key, _LARGEST)
    name = f"The run record {where.key} in {shelf.repository.description}"
    if hashlib.sha256(data).hexdigest() != where.sha256:
        raise CatalogError(
            f"{name} is not what the run wrote (its sha256 is another): it is damaged, or somebody replaced it. What the run itself said as it "
            "ended stands; the backups have manifests of their own."
        )
    try:
        content = bounded.loads(data)
    except ValueError as exc:
        raise CatalogError(f"{name} cannot be read: {exc}.") from exc
    if not isinstance(content, dict):
        raise CatalogError(f"{name} is no record of a run.")
    return content
