# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table with all that belongs to it: pg_restore's own --table leaves out its indexes, constraints and sequences.

Pure: reads what ``pg_restore --verbose --schema-only --file=-`` and ``pg_restore --list`` print.
Source: https://www.postgresql.org/docs/current/app-pgrestore.html (the note at --table)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_ENTRY = re.compile(
    r"^-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies: ([\d ]+)\n)?"
    r"-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: .*$",
    re.MULTILINE,
)
_RELATIONS = {"TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW", "VIEW"}
_BELONGINGS = {
    "ACL", "CHECK CONSTRAINT", "COMMENT", "CONSTRAINT", "DEFAULT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "POLICY",
    "ROW SECURITY", "RULE", "SECURITY LABEL", "SEQUENCE", "SEQUENCE OWNED BY", "STATISTICS", "TRIGGER",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One entry of an archive's table of contents."""

    id: int
    needs: frozenset[int]
    name: str
    type: str
    schema: str


def parse(text: str) -> list[Entry]:
    """The entries of an archive's definitions."""
    return [
        Entry(int(number), frozenset(map(int, (needs or "").split())), name, kind, schema)
        for number, needs, name, kind, schema in _ENTRY.findall(text)
    ]


def choose(text: str, listing: str, tables: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines of ``listing`` that make up the tables (``name`` or ``schema.name``), for ``pg_restore --use-list``, and
    the names of foreign keys that are left out, as they lead to tables that are not chosen.

    Raises:
        BadOption: a table is not in the archive.
    """
    entries = {entry.id: entry for entry in parse(text)}
    chosen: set[int] = set()
    for table in tables:
        found = {
            entry.id
            for entry in entries.values()
            if entry.type in _RELATIONS and table in (entry.name, f"{entry.schema}.{entry.name}")
        }
        if not found:
            raise BadOption(
                "tables", table, "is not in the dump", "Name it as it is, without patterns; with its schema."
            )
        chosen |= found
    relations = {entry.id for entry in entries.values() if entry.type in _RELATIONS}
    left_out: list[str] = []
    grown = True
    while grown:  # what belongs to what belongs to a table
        grown = False
        for entry in entries.values():
            if entry.id in chosen or entry.type not in _BELONGINGS or not entry.needs & chosen:
                continue
            foreign = {need for need in entry.needs if need in entries} - chosen
            if entry.type == "FK CONSTRAINT" and any(_table_of(need, entries, relations) - chosen for need in foreign):
                left_out.append(entry.name)
                continue
            # a column's default needs its sequence
            chosen |= {entry.id} | {need for need in foreign if entries[need].type == "SEQUENCE"}
            grown = True
    data = {f" TABLE DATA {entries[i].schema} {entries[i].name} " for i in chosen if entries[i].type in _RELATIONS}
    data |= {f" SEQUENCE SET {entries[i].schema} {entries[i].name} " for i in chosen if entries[i].type == "SEQUENCE"}
    lines = []
    for line in listing.splitlines():
        number = line.partition(";")[0]
        if number.isdigit() and (int(number) in chosen or any(words in line for words in data)):
            lines.append(line)
    return lines, sorted(set(left_out))


def _table_of(number: int, entries: dict[int, Entry], relations: set[int]) -> set[int]:
    """The tables that an entry leads to: itself, or those that it needs."""
    return {number} if number in relations else set(entries[number].needs & relations)
