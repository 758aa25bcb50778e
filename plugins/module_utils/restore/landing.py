# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The landing of one database's restore: counted, compared and looked at, before it takes its name; and the mark that remembers it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.checks import database as checks
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.belongings import name_holders, refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.evidence import definitions, measure
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load import Loader
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.plan import ADD, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass
class Landing:
    """What was found. ``report`` is for the result, ``mark`` for the log."""

    report: dict[str, Any]
    proof: Proof
    warnings: list[str]
    #: materialized views whose rows hold the name of the database that they were filled in
    apart: list[str] = field(default_factory=list)
    mark: dict[str, Any] = field(default_factory=dict)

    def refresh(self, target: TargetServer, name: str) -> None:
        """Fill those views anew, now that the database has its name."""
        if self.apart:
            with contextlib.closing(target.address.connect(name)) as connection:
                problem = refresh(connection, self.apart)
            self.warnings += [f"{name!r}: {problem}"] if problem else []

    def finish(
        self, source: str, step: Step, options: RestoreOptions, at: str, properties: Optional[dict[str, Any]]
    ) -> None:
        """What the log keeps; the properties as they are in the end."""
        self.mark.update(
            source=source,
            database=step.dump.database,
            selection=options.selection(),
            at=at,
            properties=properties,
        )


def land(
    connection: Connection,
    address: Address,
    name: str,
    step: Step,
    scope: Mapping[str, Any],
    options: RestoreOptions,
    loader: Loader,
) -> Landing:
    """Look at a database that was restored as ``name``.

    Raises:
        ServerError: it is not what was backed up; a table that was asked for is missing.
    """
    dump, title, proof = step.dump, step.name, Proof()
    filtered = any(scope.get(key) for key in ("schemas", "exclude_schemas", "tables", "exclude_tables"))
    proof.lost += _left_out(scope, title)
    definitions_only = options.schema_only or (options.sections and "data" not in options.sections)
    # Connected here: while psycopg2 connects, no other thread may wait for a statement (server/connection.py).
    other = address.connect(name) if options.analyze else None
    analyzing = Background(lambda: _analyze(other)) if other is not None else None
    measured = measure(connection)
    proof.proven.append(f"The database {title!r} can be connected to.")
    if definitions_only:
        found = checks.Rows(not_compared=["only definitions were restored: no rows were compared."])
    else:
        only = (
            loader.chosen(dump) if options.partial else _recorded_and_there(dump, measured.tables) if filtered else None
        )
        found = checks.compare_rows(measured.tables, dump.contents.get("tables"), only)
    found.prove(proof, title)
    unexplained = not_explained(found, lambda table: loader.explains(dump, table), step.mode == ADD)
    if unexplained:
        allowed = " No failure that allow_errors let pass speaks of these tables." if options.allow_errors else ""
        proof.missing.append(
            f"The rows differ from those that the backup recorded: {'; '.join(unexplained[:10])}.{allowed}"
        )
    proof.require()  # before anything is mended in it
    behind: list[str] = []
    invalid: list[str] = []
    empty: list[str] = []
    with checks.advisory(proof, title, "sequences"):
        doubts: list[str] = []
        if not definitions_only:
            behind = checks.sequences_behind(connection, options.fix_sequences, doubts)
        proof.unproven += [f"{title!r}: {doubt}" for doubt in doubts]
    with checks.advisory(proof, title, "indexes and constraints"):
        invalid = checks.invalid(connection)
    with checks.advisory(proof, title, "materialized views"):
        empty = [] if definitions_only else checks.unpopulated(connection)
    if not options.partial:
        with checks.advisory(proof, title, "extensions"):
            proof.lost += [
                f"{title!r}: {message}."
                for message in checks.compare_extensions(connection, dump.contents.get("extensions") or [])
            ]
    if analyzing is not None:
        with checks.advisory(proof, title, "statistics"):
            analyzing.result()
    proof.require()
    views = [f"the materialized view {view} has no data: REFRESH it" for view in empty]
    landing = Landing(
        report={
            "tables_checked": found.same if found.same or found.differ else None,
            "row_differences": found.differ,
            "invalid": invalid,
            "sequences_behind": behind,
            "unpopulated": empty,
        },
        proof=proof,
        warnings=[f"{title!r}: {message}" for message in found.differ + invalid + behind + views],
        apart=name_holders(connection) if name != title else [],
    )
    landing.mark.update(rows=measured.versions, definitions=definitions(connection))
    return landing


def _recorded_and_there(dump: Dump, counted: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """A backup of parts recorded the numbers of all tables: those that came can be compared."""
    recorded = {(row["schema"], row["table"]) for row in dump.contents.get("tables") or ()}
    return sorted(recorded & {(row["schema"], row["table"]) for row in counted})


def _left_out(scope: Mapping[str, Any], title: str) -> list[str]:
    """What who made the backup chose to leave out."""
    what = {"exclude_schemas": "schemas", "exclude_tables": "tables", "exclude_table_data": "rows of the tables"}
    return [
        f"{title!r}: the {name} {', '.join(scope[key])} are not in the backup ({key})."
        for key, name in what.items()
        if scope.get(key)
    ]


def not_explained(found: checks.Rows, explains: Callable[[tuple[str, str]], bool], adding: bool) -> list[str]:
    """The differences that no failure explains which the user allowed. Where rows are added to what was there, other numbers are none, but
    for what is missing. Pure."""
    left = [message for name, message in zip(found.differing, found.differ) if not explains(name)]
    return left if not adding or any(message.endswith(" is missing") for message in left) else []


def _analyze(connection: Connection) -> None:
    with contextlib.closing(connection):
        checks.analyze(connection)
