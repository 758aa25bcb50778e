# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting by pgBackRest: first it is seen what it would do, and its WAL goes only as far as no kept backup needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import with_dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.listing import (
    expired,
    expired_wal,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.options import NEVER
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Program
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError


def delete(
    program: Program,
    found: Sequence[Record],
    labels: Sequence[str],
    descriptions: Sequence[str],
    archive_kept: Mapping[int, int],
    check: bool,
) -> list[str]:
    """Delete backups of those that were ``found``, unless ``check``. ``descriptions`` of the repositories, in their order; ``archive_kept``: for
    how many full backups one keeps its WAL without a gap, where the user said so. Returns the labels that go.

    Raises:
        ToolError: pgBackRest would delete something else, or no full backup would be left.
        CatalogError: a label is not there.
    """
    going = with_dependants(found, labels, "pgBackRest")
    repositories = sorted({number for record in found for number in record.scope["repositories"]})
    here = {
        repository: [record for record in found if repository in record.scope["repositories"]]
        for repository in repositories
    }
    for repository, records in here.items():
        kept = [record for record in records if record.id not in going]
        if len(kept) < len(records) and not any(record.kind == "full" for record in kept):
            raise ToolError(
                f"That would delete every full backup in {descriptions[repository - 1]}, and pgBackRest keeps one. Nothing "
                "was deleted. Make another one first."
            )
    for repository, records in here.items():
        _rehearse(program, repository, records, going)
    if not check:
        for repository, records in here.items():
            for label in _roots(records, going):
                program.ask("expire", f"--repo={repository}", f"--set={label}", patience=3600)
            _expire_wal(
                program,
                repository,
                archive_kept.get(repository),
                [record for record in records if record.id not in going],
            )
    return going


def _rehearse(program: Program, repository: int, records: Sequence[Record], going: Sequence[str]) -> None:
    for label in _roots(records, going):
        said = program.ask("expire", f"--repo={repository}", f"--set={label}", "--dry-run", detail="info", patience=60)
        expected = set(with_dependants(records, [label], "pgBackRest"))
        if expired(said) != expected:
            raise ToolError(
                f"pgBackRest would not delete {', '.join(sorted(expected))}, but {', '.join(sorted(expired(said))) or 'nothing'}. "
                f"Nothing was deleted. See for yourself: {program.line('expire', f'--set={label}', '--dry-run')}"
            )


def _expire_wal(program: Program, repository: int, wanted: Optional[int], kept: Sequence[Record]) -> None:
    """WAL before the oldest full backup goes only when pgBackRest is told for how many full backups it is to stay."""
    full = [record for record in kept if record.kind == "full"]
    arguments = [
        f"--repo={repository}",
        f"--repo{repository}-retention-full={NEVER}",
        f"--repo{repository}-retention-archive-type=full",
        f"--repo{repository}-retention-archive={min(len(full), wanted or len(full))}",
    ]
    said = program.ask("expire", *arguments, "--dry-run", detail="info", patience=3600)
    needed = min(str(record.consistency["first_segment"])[8:] for record in full)
    wrong = [name for name in expired_wal(said) if name[8:] >= needed] if wanted is None else []
    if wrong:
        raise ToolError(
            f"The backups are deleted. Their WAL is not: pgBackRest would delete it up to {wrong[0]}, and the oldest backup "
            f"needs it from {needed} on. See for yourself: {program.line('expire', *arguments, '--dry-run')}"
        )
    if expired_wal(said):
        program.ask("expire", *arguments, patience=3600)


def _roots(records: Sequence[Record], going: Sequence[str]) -> list[str]:
    """Those of a repository that go and need none that goes: the others go with them."""
    parents = {record.id: record.parent for record in records}
    return [label for label in going if label in parents and parents[label] not in going]
