# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is restored, and how. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


@dataclass(frozen=True)
class RestoreOptions:
    """The options of ``pg_restore`` that say what and how."""

    databases: tuple[str, ...]
    target_db: Optional[str]
    tables: tuple[str, ...]
    schemas: tuple[str, ...]
    schema_only: bool
    data_only: bool
    sections: tuple[str, ...]
    jobs: int
    no_owner: bool
    no_privileges: bool
    no_tablespaces: bool
    superuser_passwords: bool
    role_map: tuple[tuple[str, str], ...]
    disable_triggers: bool
    globals: Optional[bool]
    tablespace_locations: tuple[tuple[str, str], ...]
    force: bool
    confirm: tuple[str, ...]
    terminate_sessions: bool
    keep_old: bool
    analyze: bool
    fix_sequences: bool
    allow_errors: tuple[str, ...]
    break_replication: bool
    accept_unsigned: bool
    encoding: Optional[str]
    locale: Optional[str]
    template: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any], looking: bool = False) -> RestoreOptions:
        """Raises BadOption for combinations that make no sense. A plan to look at (``looking``) says what to confirm."""
        values = {name: params.get(name) for name in cls.__dataclass_fields__}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        values["tablespace_locations"] = tuple(sorted((params.get("tablespace_locations") or {}).items()))
        values["role_map"] = tuple(sorted((params.get("role_map") or {}).items()))
        options = cls(**values)  # type: ignore[arg-type]
        if options.jobs < 1:
            raise BadOption("jobs", options.jobs, "is not a number of jobs", "Use 1 or more.")
        if options.schema_only and options.data_only:
            raise BadOption("schema_only", True, "does not go with data_only", "Use one of them.")
        if options.sections and (options.schema_only or options.data_only):
            raise BadOption(
                "sections", list(options.sections), "does not go with schema_only or data_only", "Use one of them."
            )
        if options.disable_triggers and not options.data_only:
            raise BadOption(
                "disable_triggers", True, "goes with data_only alone", "Leave it out, or set data_only: true."
            )
        if options.target_db and len(options.databases) != 1:
            raise BadOption(
                "target_db", options.target_db, "needs exactly one database to restore", "Name it by databases: [name]."
            )
        if options.role_map and (options.partial or options.schema_only):
            raise BadOption(
                "role_map",
                dict(options.role_map),
                "goes with whole databases alone",
                "Restore one, and take parts of it.",
            )
        if options.force and not options.confirm and not looking:
            raise force_alone()
        return options

    @property
    def partial(self) -> bool:
        """Whether something is added to a database, rather than the database being made anew."""
        return bool(self.tables or self.schemas or self.data_only or self.sections)

    @property
    def whole(self) -> bool:
        """Whether a dump is restored as it is, with all that it says."""
        return not (self.partial or self.schema_only or self.no_owner or self.no_privileges or self.role_map)

    @property
    def chooses(self) -> bool:
        """Whether entries of an archive are chosen."""
        return bool(self.tables or self.schemas)

    @property
    def whole_server(self) -> bool:
        """Whether everything that the backup has is restored."""
        return not self.databases and not self.partial

    def selection(self) -> str:
        """What is restored, so that the same wish can be recognised."""
        chosen = (self.tables, self.schemas, self.schema_only, self.data_only, self.sections)
        return json.dumps(
            [
                *chosen,
                self.no_owner,
                self.no_privileges,
                self.no_tablespaces,
                self.role_map,
                self.encoding,
                self.locale,
                self.template,
                sorted(self.allow_errors),  # what was let fail then is not done now
            ]
        )

    def arguments(self) -> list[str]:
        """Arguments of pg_restore."""
        arguments = [
            f"--section={section}" for section in self.sections
        ]  # tables and schemas are chosen by a list: toc.py
        for flag in ("schema_only", "data_only", "no_owner", "no_privileges", "no_tablespaces", "disable_triggers"):
            arguments += [f"--{flag.replace('_', '-')}"] if getattr(self, flag) else []
        return arguments


def force_alone() -> BadOption:
    """What is replaced is always named."""
    return BadOption("force", True, "needs confirm", "Name what may be replaced: confirm: [database].")
