# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup in the repository of an engine that keeps one, looked at by what the engine itself can."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken


def reachable(engine: RepositoryEngine, level: str) -> str:
    """How closely an engine's backups can be looked at, where ``level`` is asked for: one that reads nothing back sees what is there alone."""
    return level if engine.reads_back else "presence"


def verify(engine: RepositoryEngine, record: Record, level: str) -> Proof:
    """Have an engine look at one of its backups, as closely as ``level`` says.

    Raises:
        Broken: it is not what it should be.
        HoldfastError: the engine, or its repository, does not answer; that says nothing against it.
    """
    if engine.reads_back and level == "presence":
        wrong = engine.lacks(record)
        if wrong:
            raise Broken("presence", wrong)
        missing = engine.missing_wal(record)
        if missing:
            raise Broken(
                "presence", f"the WAL segment {missing[0]}, without which it is not consistent, is not in its archive"
            )
        return Proof(
            proven=[f"{record.id}: all of its files are there, and the WAL that makes it consistent."],
            unproven=[f"{record.id}: what is in them was not read."],
        )
    try:
        found = engine.verify(record)
    except CatalogError as exc:
        if isinstance(exc.__cause__, ToolError):
            raise  # its program failed: that is no verdict
        raise Broken(level, str(exc)) from exc
    if found.verified:
        return Proof(
            proven=[f"{record.id}: {found.looked_at}"],
            unproven=[f"{record.id}: that it can be restored: only a restore proves that."],
        )
    return Proof(
        proven=[f"{record.id}: all of its parts are listed, and the WAL that makes it consistent is there."],
        unproven=[f"{record.id}: {found.looked_at}"],
    )
