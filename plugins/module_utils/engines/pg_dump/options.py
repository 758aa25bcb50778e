# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is dumped, and how: options to arguments. Pure.

Source: https://www.postgresql.org/docs/current/app-pgdump.html
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_LEAST = 1024 * 1024  # bytes of staging
#: what ``pg_backup`` takes for it, as argument specification
SPEC: dict[str, Any] = {
    "databases": {"type": "list", "elements": "str", "default": []},
    "format": {"type": "str", "choices": ["custom", "directory", "plain", "tar"], "default": "custom"},
    "schema_only": {"type": "bool", "default": False},
    "data_only": {"type": "bool", "default": False},
    "schemas": {"type": "list", "elements": "str", "default": []},
    "exclude_schemas": {"type": "list", "elements": "str", "default": []},
    "tables": {"type": "list", "elements": "str", "default": []},
    "exclude_tables": {"type": "list", "elements": "str", "default": []},
    "exclude_table_data": {"type": "list", "elements": "str", "default": []},
    "large_objects": {"type": "bool"},
    "globals": {"type": "bool", "default": True},
    "role_passwords": {"type": "bool", "no_log": False},
    "row_counts": {"type": "bool", "default": True},
    "staging_limit": {"type": "int", "default": 1024**3},
    "lock_wait_timeout": {"type": "str", "default": "1h"},
}
EXTENSIONS = {"plain": ".sql", "custom": ".dump", "tar": ".tar", "directory": ".dir"}


@dataclass(frozen=True)
class DumpOptions:
    """The options of ``pg_backup`` that belong to this engine."""

    format: str
    jobs: int
    databases: tuple[str, ...]
    schema_only: bool
    data_only: bool
    schemas: tuple[str, ...]
    exclude_schemas: tuple[str, ...]
    tables: tuple[str, ...]
    exclude_tables: tuple[str, ...]
    exclude_table_data: tuple[str, ...]
    large_objects: Optional[bool]
    globals: bool
    role_passwords: Optional[bool]
    row_counts: bool
    staging_limit: int
    lock_wait_timeout: int  # seconds; 0: no limit

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DumpOptions:
        """Raises BadOption for combinations that make no sense."""
        values = {name: params.get(name) for name in cls.__dataclass_fields__}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name in ("databases", "schemas", "exclude_schemas", "tables", "exclude_tables", "exclude_table_data"):
            values[name] = values[name] or ()
        wait = str(values["lock_wait_timeout"] or "0")
        values["lock_wait_timeout"] = 0 if wait == "0" else parse_duration(wait, "lock_wait_timeout")
        options = cls(**values)  # type: ignore[arg-type]
        if options.jobs < 1:
            raise BadOption("jobs", options.jobs, "is not a number of jobs", "Use 1 or more.")
        if options.jobs > 1 and options.format != "directory":
            raise BadOption(
                "jobs", options.jobs, f"does not go with format {options.format}", "Use format: directory, or one job."
            )
        if options.staging_limit < _LEAST:
            raise BadOption("staging_limit", options.staging_limit, "is too little", "Use 1 MiB or more (in bytes).")
        if options.schema_only and options.data_only:
            raise BadOption("schema_only", True, "does not go with data_only", "Use one of them.")
        if options.role_passwords and not options.globals:
            raise BadOption("role_passwords", True, "does not go with globals: false", "Leave one of them out.")
        if options.schema_only and options.exclude_table_data:
            raise BadOption(
                "exclude_table_data", params["exclude_table_data"], "means nothing with schema_only", "Drop it."
            )
        return options

    @property
    def filtered(self) -> bool:
        """Whether some objects of a database are left out."""
        return bool(self.schemas or self.exclude_schemas or self.tables or self.exclude_tables)

    def scope(self) -> dict[str, Any]:
        """What a backup with these options holds: two with the same scope can stand in for each other."""
        return {
            "databases": list(self.databases) or None,
            "schema_only": self.schema_only,
            "data_only": self.data_only,
            "schemas": list(self.schemas),
            "exclude_schemas": list(self.exclude_schemas),
            "tables": list(self.tables),
            "exclude_tables": list(self.exclude_tables),
            "exclude_table_data": list(self.exclude_table_data),
            "large_objects": self.large_objects,
            "globals": self.globals,
        }

    def arguments(self) -> list[str]:
        """Arguments of pg_dump that choose what is dumped."""
        arguments = []
        arguments += ["--schema-only"] if self.schema_only else []
        arguments += ["--data-only"] if self.data_only else []
        for option, patterns in (
            ("schema", self.schemas),
            ("exclude-schema", self.exclude_schemas),
            ("table", self.tables),
            ("exclude-table", self.exclude_tables),
            ("exclude-table-data", self.exclude_table_data),
        ):
            arguments += [f"--{option}={pattern}" for pattern in patterns]
        if self.large_objects is not None:
            arguments += ["-b" if self.large_objects else "-B"]  # the long names changed in PostgreSQL 16
        return arguments


def file_name(database: str) -> str:
    """A database's name as a file's: whatever is no letter or digit of ASCII is written as %XX of its UTF-8."""
    return urllib.parse.quote(database.encode("utf-8", "surrogateescape"), safe="")


def inner_compression(method: str, level: Optional[int], format_: str) -> Optional[str]:
    """pg_dump's own ``--compress`` where pg_restore reads the result as it is; None: compress outside.

    Only gzip in the directory format compresses inside: its files keep the names that pg_restore looks for. Not every
    build of PostgreSQL 16 and newer has lz4 and zstd inside.
    """
    return str(level) if format_ == "directory" and method == "gzip" else None
