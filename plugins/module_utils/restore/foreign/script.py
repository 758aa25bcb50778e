# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plain dump is, once it was read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Statement

#: databases that every server has
MAINTENANCE = ("template1", "postgres")

Table = tuple[Optional[str], str]


@dataclass(frozen=True)
class Edit:
    """Bytes of the script that are left out, and what stands in their place: ``text``; with ``target`` the name of the database that is
    written into; with ``connect`` a change to that database (of a cluster's script)."""

    start: int
    end: int
    text: bytes = b""
    target: bool = False
    connect: Optional[str] = None


@dataclass
class Script:
    """What a plain dump is. ``by`` and ``of``: the versions of pg_dump and of the server it speaks of; None: it does not say.

    ``cluster``: it is pg_dumpall's. ``complete`` None: nothing in it says whether it is. ``databases``: those that it makes or connects to.
    ``rows``: rows by table; None: they could not be counted. ``parents``: of partitions; ``made``: tables that it makes. ``clause``: encoding and locale of its
    CREATE DATABASE. ``own``: comment, connection limit, tablespace and the like of its database, as
    ``server.facts.databases`` names them. ``edits``: what must be other than it is, in order; ``copies``: where tables' rows begin and end, in bytes.
    ``spaces``: what puts objects into tablespaces, and how it does not. ``globals``: statements about roles and tablespaces of a
    cluster's script. ``problems``: why it is refused; ``cut``: it ends
    in the middle; ``crlf``: its lines end as on Windows. ``way_out``: what to do about the problems, where that is known. ``extensions``:
    and ``schemas``: those that it makes. ``only_rows``: it fills tables, and makes none. ``only_roles``: it makes roles, and nothing else.
    """

    by: Optional[str] = None
    of: Optional[str] = None
    cluster: bool = False
    complete: Optional[bool] = None
    databases: list[str] = field(default_factory=list)
    rows: dict[Table, Optional[int]] = field(default_factory=dict)
    parents: dict[Table, Table] = field(default_factory=dict)
    made: set[Table] = field(default_factory=set)
    clause: Optional[str] = None
    own: dict[str, Any] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cut: bool = False
    crlf: bool = False
    spaces: list[Edit] = field(default_factory=list)
    statements: int = 0
    globals: list[Statement] = field(default_factory=list)
    way_out: Optional[str] = None
    extensions: list[str] = field(default_factory=list)
    schemas: list[str] = field(default_factory=list)
    only_rows: bool = False
    only_roles: bool = False

    @property
    def database(self) -> Optional[str]:
        """The one database that it speaks of, where it does."""
        return self.databases[0] if len(self.databases) == 1 else None

    def homeless(self) -> list[str]:
        """Schemas that tables are made in, and that the script does not make: it is a dump of parts (``pg_dump --table``)."""
        return sorted({schema for schema, _name in self.made if schema} - {*self.schemas, "public", "pg_catalog"})

    def tables(self) -> list[dict[str, Any]]:
        """Rows by table as ``server.facts.count_rows`` has them: partitions are counted to their root. Only of tables that the script
        makes: an extension may have filled others."""
        sums: dict[Table, Optional[int]] = {}
        for table, count in self.rows.items():
            root = table
            for _step in range(len(self.parents) + 1):
                root = self.parents.get(root, root)
            before = sums.get(root, 0)
            sums[root] = None if before is None or count is None else before + count
        return [
            {"schema": schema, "table": name, "rows": count}
            for (schema, name), count in sorted(sums.items(), key=lambda item: (item[0][0] or "", item[0][1]))
            if schema is not None and (schema, name) in self.made
        ]
