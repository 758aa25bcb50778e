# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables a script fills, and by how many rows. Pure."""

from __future__ import annotations

import re
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import (
    Inserts,
    Statement,
    unquoted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Script, Table


class RowCounter:
    """Counts rows into a script, statement by statement."""

    def __init__(self, script: Script) -> None:
        self._script = script
        #: whether it is pg_dump's, as far as it was read
        self.by_pg_dump = False
        self._fires = False  # triggers or rules, which may change what is filled behind them
        # pg_dump before 10.3 names a schema once, and then tables without it.
        self._schema: Optional[str] = None

    def inserts(self, item: Inserts) -> None:
        """Rows that are inserted one by one."""
        self._count(self._placed(_table(item.table)), item.rows)

    def statement(self, item: Statement) -> None:
        """A statement that may make, fill or change a table."""
        words = item.words
        if words[0] == "copy" and item.rows is not None:
            self._script.copies.append((item.start, item.after))
            found = self._placed(_named(words, 2 if words[1:2] == ["binary"] else 1))
            self._count(found, None if item.rows < 0 else item.rows)
        elif words[:2] == ["insert", "into"]:
            self._count(self._placed(_named(words, 2)), _tuples(words))
        elif self._changes(words):
            self._script.rows = dict.fromkeys(self._script.rows)
        elif words[:2] == ["alter", "table"] and "attach" in words:
            at = words.index("attach")
            if words[at : at + 2] == ["attach", "partition"]:
                parent = self._placed(_named(words, 3 if words[2] == "only" else 2))
                self._belongs(self._placed(_named(words, at + 2)), parent)
        elif words[0] == "create" and "table" in words[1:3] and "foreign" not in words[1:3]:
            where = words.index("table") + 1
            where += 3 if words[where : where + 3] == ["if", "not", "exists"] else 0
            made = self._placed(_named(words, where))
            if made is not None:
                self._script.made.add(made)
            if "partition" in words:
                at = words.index("partition")
                if words[at : at + 2] == ["partition", "of"]:
                    self._belongs(made, self._placed(_named(words, at + 2)))
        elif words[:2] == ["set", "search_path"]:
            self._schema = unquoted(words[3]) if len(words) > 3 and words[3] not in ("''", "default") else None

    def _placed(self, table: Optional[Table]) -> Optional[Table]:
        """A table whose schema is not said is in the first one of the search path, where the script sets that."""
        if table is not None and table[0] is None and self.by_pg_dump:
            return self._schema, table[1]
        return table

    def _belongs(self, child: Optional[Table], parent: Optional[Table]) -> None:
        if child is not None and parent is not None and child != parent:
            self._script.parents[child] = parent

    def _changes(self, words: list[str]) -> bool:
        """Whether a statement may change the rows of tables that were filled before. pg_dump writes none."""
        if words[0] == "create" and words[1:2] in (["trigger"], ["rule"], ["constraint"], ["or"]):
            self._fires = self._fires or words[1] != "or" or "trigger" in words[2:5] or "rule" in words[2:5]
        if words[0] in ("alter", "drop"):
            return (
                words[0] == "drop"
                or "rename" in words
                or words[3:5] == ["set", "schema"]
                or words[5:7] == ["set", "schema"]
            )
        if words[0] == "select":
            return not self.by_pg_dump
        return words[0] in ("update", "delete", "truncate", "merge", "with", "call", "do", "execute")

    def _count(self, table: Optional[Table], rows: Optional[int]) -> None:
        if table is None or self._script.cluster:
            return
        before = self._script.rows.get(table, 0)
        self._script.rows[table] = None if before is None or rows is None or self._fires else before + rows


def _named(words: list[str], at: int) -> Optional[Table]:
    """The table that is named from a token on; its schema is None where none is given."""
    if words[at : at + 1] == ["only"]:
        at += 1
    if at >= len(words) or words[at][:3] in ('U&"', 'u&"'):
        return None
    if words[at + 1 : at + 2] == ["."] and at + 2 < len(words):
        return unquoted(words[at]), unquoted(words[at + 2])
    return None, unquoted(words[at])


def _table(text: str) -> Optional[Table]:
    """As ``_named``, from its text."""
    parts = re.findall(r'"(?:[^"]|"")+"|[^."]+', text)
    names = [unquoted(part) if part.startswith('"') else part.lower() for part in parts]
    return (names[0], names[1]) if len(names) == 2 else (None, names[0]) if len(names) == 1 else None


def _tuples(words: list[str]) -> Optional[int]:
    """How many rows INSERT … VALUES has; None where that cannot be told."""
    if words[-2:] == ["default", "values"]:
        return 1
    if "values" not in words or "conflict" in words or "select" in words or len(words) >= 8000:
        return None
    depth = count = 0
    for word in words[words.index("values") + 1 :]:
        count += word == "(" and depth == 0
        depth += (word == "(") - (word == ")")
    return count
