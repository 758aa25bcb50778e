# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups laid into a repository without a server: real objects, real manifests, whatever times, positions and scopes a test wants."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, format_time


def lay(
    shelf: Shelf,
    name: str,
    at: datetime.datetime,
    *,
    lsn: Optional[str] = None,
    data: bytes = b"rows",
    kind: str = "logical",
    engine: str = "pg_dump",
    parent: Optional[str] = None,
    verified: bool = True,
    system: Optional[str] = "7",
    encryption: str = "none",
    fingerprints: tuple[str, ...] = (),
    databases: tuple[str, ...] = ("shop",),
    **scope: Any,
) -> Record:
    """A backup of ours, whose artifacts are ``data`` each."""
    keys = [f"databases/{database}.dump" for database in databases] if kind == "logical" else ["base.tar"]
    artifacts = [Artifact(key, "database", len(data), hashlib.sha256(data).hexdigest(), len(data)) for key in keys]
    record = Record(
        id=name, engine=engine, kind=kind, engine_version="16.1", started_at=format_exact(at), stopped_at=format_exact(at),
        server={"name": shelf.name, "system_id": system, "timeline": 1, "version": "16.1", "version_num": 160001,
                "in_recovery": False},
        start_lsn=lsn, stop_lsn=lsn, scope={"databases": None, "tables": [], **scope}, consistency={},
        databases=[{"name": database} for database in databases], compression={"method": "none", "level": None},
        encryption={"method": encryption, "recipients": [], "fingerprints": list(fingerprints)}, artifacts=artifacts, created_by="a test", parent=parent,
        verified_at=format_time(at) if verified else None,
    )  # fmt: skip
    for key in keys:
        shelf.repository.write(shelf.key(name, key), data)
    shelf.write(record)
    return record
