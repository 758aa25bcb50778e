# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table with all that it is made of: partitions, inheritance children, sequences, indexes, constraints, triggers, policies, grants;
and, where the target lacks it, what it needs: its schema, types, trigger functions, extensions.

Pure: reads what ``pg_restore --verbose --schema-only --file=-`` (definitions) and ``pg_restore --verbose --list`` (all entries, data
too) print. pg_restore's own --table leaves most of this out, its --schema leaves out the schema.
Source: https://www.postgresql.org/docs/current/app-pgrestore.html (the notes at --table and --schema)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_ENTRY = re.compile(
    r"^--\n-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies: ([\d ]+)\n)?"
    r"-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: .*\n(?:-- Data Pos: \d+\n)?--\n",
    re.MULTILINE,
)
_LINE = re.compile(r"^(\d+); \d+ \d+ (.*)$(?:\n;\s+depends on:([\d ]+)$)?", re.MULTILINE)
_RELATIONS = {"TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW", "VIEW"}
_BELONGINGS = {
    "ACL", "CHECK CONSTRAINT", "COMMENT", "CONSTRAINT", "DEFAULT", "DEFAULT ACL", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "POLICY",
    "ROW SECURITY", "RULE", "SECURITY LABEL", "SEQUENCE", "SEQUENCE OWNED BY", "STATISTICS", "TABLE ATTACH", "TRIGGER",
}  # fmt: skip
_LABELS = {"ACL", "COMMENT", "SECURITY LABEL"}
_DATA = ("TABLE DATA ", "SEQUENCE SET ", "MATERIALIZED VIEW DATA ", "STATISTICS DATA ")
_DATA_OF = re.compile(r"TABLE DATA (\S+) (.+) \S+$")
_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_HOME = re.compile(rf"^CREATE EXTENSION [^;]* WITH SCHEMA ({_NAME})", re.MULTILINE)

#: whether an entry's object is in the target
Present = Callable[["Entry"], bool]


@dataclass(frozen=True)
class Entry:
    """One entry of an archive's table of contents that has a definition (``body``, SQL)."""

    id: int
    needs: frozenset[int]
    name: str
    type: str
    schema: str
    body: str = ""

    @property
    def inherits(self) -> bool:
        """Whether it is a child of another table, by inheritance."""
        return (
            self.type in ("TABLE", "FOREIGN TABLE") and re.search(r"^INHERITS \(", self.body, re.MULTILINE) is not None
        )

    @property
    def partitioned(self) -> bool:
        """Whether it is the head of partitions."""
        return self.type == "TABLE" and re.search(r"^PARTITION BY ", self.body, re.MULTILINE) is not None


@dataclass(frozen=True)
class Line:
    """One line of the list, data entries too; ``text`` begins with the entry's type."""

    id: int
    text: str
    needs: frozenset[int]


def _ids(text: Optional[str]) -> frozenset[int]:
    return frozenset(map(int, (text or "").split()))


def parse(text: str) -> list[Entry]:
    """The entries of an archive's definitions."""
    found = list(_ENTRY.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Entry(int(match[1]), _ids(match[2]), match[3], match[4], match[5], text[match.end() : end].strip())
        for match, end in zip(found, ends)
    ]


def parse_list(text: str) -> list[Line]:
    """The lines of ``pg_restore --verbose --list``."""
    return [Line(int(match[1]), match[2], _ids(match[3])) for match in _LINE.finditer(text)]


def extensions(entries: Sequence[Entry]) -> set[str]:
    """Names of the extensions that are made."""
    return {entry.name for entry in entries if entry.type == "EXTENSION"}


def checks_name(entries: Sequence[Entry]) -> bool:
    """Whether a constraint asks for the database's name: then rows go in under the right one alone."""
    asks = r"current_database\s*\(|current_catalog"
    return any(
        re.search(rf"CHECK \(.*({asks})", entry.body, re.IGNORECASE)
        for entry in entries
        if entry.type in ("TABLE", "DOMAIN", "CHECK CONSTRAINT")
    )


def homeless(entries: Sequence[Entry]) -> list[str]:
    """Schemas that entries stand in, or that extensions are made in, and that are not made: a backup of parts lacks them."""
    made = {entry.name for entry in entries if entry.type == "SCHEMA"}
    named = {entry.schema for entry in entries} - {"-", ""}
    for entry in entries:
        if entry.type == "EXTENSION":
            named |= {_bare(name) for name in _HOME.findall(entry.body)}
    return sorted(named - made - {"pg_catalog", "public"})


def makes_public(entries: Sequence[Entry]) -> bool:
    """Whether the schema public is made, which each new database has: so does a backup of the schema public."""
    return any(
        entry.type == "SCHEMA" and entry.name == "public" and entry.body.startswith("CREATE SCHEMA")
        for entry in entries
    )


def schema_entry(name: str) -> Entry:
    """An entry that makes a schema, to ask whether it is there."""
    return Entry(0, frozenset(), name, "SCHEMA", "-")


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


@dataclass
class Selection:
    """What is restored of an archive. ``ids`` are entries in the archive's own order; ``attach`` come after all (partitions of a table that
    is in the target), ``foreign_keys`` are statements, for tables that are in the target."""

    ids: set[int] = field(default_factory=set)
    attach: set[int] = field(default_factory=set)
    foreign_keys: list[str] = field(default_factory=list)
    #: tables and views that were asked for, and what they are made of, as (schema, name)
    relations: list[tuple[str, str]] = field(default_factory=list)
    #: heads of partitions among them
    partitioned: set[tuple[str, str]] = field(default_factory=set)
    #: names of foreign keys that lead to tables which are neither chosen nor there
    left_out: list[str] = field(default_factory=list)
    #: relations made without rows, as others need them
    bare: list[str] = field(default_factory=list)
    #: tables of extensions in the chosen schemas, whose rows the archive has, and which are not restored
    of_extensions: list[str] = field(default_factory=list)

    def lines(self, listing: Sequence[Line], ids: set[int]) -> list[str]:
        """For ``pg_restore --use-list``."""
        return [f"{line.id}; 0 0 {line.text}" for line in listing if line.id in ids]

    def lost(self) -> list[str]:
        """Rows that the archive has, and that do not come."""
        return [
            f"The rows of {name} in the dump were not restored: it belongs to an extension, which a restore of parts leaves as it is."
            for name in self.of_extensions
        ]

    def notes(self) -> list[str]:
        """What the user should hear of."""
        notes = []
        if self.left_out:
            notes.append(f"Foreign keys to tables that were not chosen are left out: {', '.join(self.left_out)}.")
        if self.bare:
            notes.append(f"Made without rows, as what was chosen needs them: {', '.join(self.bare)}.")
        return notes


class _Chooser:
    def __init__(self, entries: Sequence[Entry], present: Optional[Present]) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.relations = {entry.id for entry in entries if entry.type in _RELATIONS}
        self._there: dict[int, bool] = {}
        self._present, self.fresh = present, present is None
        self.chosen: set[int] = set()
        self.made: set[int] = set()  # needed by the chosen, and not there
        self.result = Selection()

    def there(self, number: int) -> bool:
        entry = self.entries[number]
        if self._present is None:
            return (entry.type, entry.name) in (("SCHEMA", "public"), ("EXTENSION", "plpgsql"))
        if number not in self._there:
            self._there[number] = self._present(entry)
        return self._there[number]

    def table(self, wanted: str) -> None:
        found = [
            entry
            for entry in self.entries.values()
            if entry.type in _RELATIONS and wanted in (entry.name, f"{entry.schema}.{entry.name}")
        ]
        if not found:
            raise BadOption(
                "tables", wanted, "is not in the dump", "Name it as it is, without patterns; with its schema."
            )
        if len(found) > 1:
            names = [f"{entry.schema}.{entry.name}" for entry in found]
            raise BadOption("tables", wanted, f"could be {' or '.join(names)}", "Name it with its schema.")
        self.chosen.add(found[0].id)

    def schema(self, wanted: str) -> None:
        found = {entry.id for entry in self.entries.values() if entry.schema == wanted}
        found |= {
            entry.id
            for entry in self.entries.values()
            if (entry.type == "SCHEMA" and entry.name == wanted)
            or (entry.type == "EXTENSION" and wanted in map(_bare, _HOME.findall(entry.body)))
        }
        if not found:
            raise BadOption("schemas", wanted, "is not in the dump", "Name it as it is, without patterns.")
        keep = {"SCHEMA", "EXTENSION"}
        self.chosen |= {
            number
            for number in found
            if self.entries[number].type not in ("FK CONSTRAINT", "PUBLICATION TABLE", "TABLE ATTACH")
            and not (self.entries[number].type in keep and self.there(number))
        }

    def grow(self) -> None:
        """What belongs to what is chosen, and what that needs."""
        before = -1
        while before != len(self.chosen) + len(self.made):
            before = len(self.chosen) + len(self.made)
            for entry in self.entries.values():
                if entry.id not in self.chosen and entry.needs & self.chosen:
                    self._belongs(entry)
                elif entry.type in _LABELS and entry.needs & self.made:
                    self.made.add(entry.id)
            self._need()
        self.result.left_out = sorted(set(self.result.left_out))

    def _belongs(self, entry: Entry) -> None:
        if entry.inherits and entry.needs & self.chosen & self.relations:
            self.chosen.add(entry.id)
        elif entry.type == "TABLE ATTACH":
            self._attach(entry)
        elif entry.type == "PUBLICATION TABLE":
            self._publish(entry)
        elif entry.type == "FK CONSTRAINT":
            self._foreign_key(entry)
        elif entry.type == "INDEX ATTACH":
            indexes = {
                n for n in entry.needs if self.entries.get(n) and self.entries[n].type in ("INDEX", "CONSTRAINT")
            }
            if indexes <= self.chosen:
                self.chosen.add(entry.id)
        elif entry.type in _BELONGINGS and self._own(entry):
            self.chosen.add(entry.id)

    def _own(self, entry: Entry) -> bool:
        """Whether it belongs to a chosen relation, and is not another one's that merely refers to it."""
        if entry.type in ("INDEX", "CONSTRAINT"):  # a partition's needs its parent's
            return any(self.entries[n].type in _RELATIONS for n in entry.needs & self.chosen)
        return True

    def _attach(self, entry: Entry) -> None:
        ends = entry.needs & self.relations
        child = {n for n in ends if self._is(n, entry)}
        parents = ends - child
        if parents and parents <= self.chosen:
            self.chosen |= child | {entry.id}
        elif child <= self.chosen and parents and all(self.there(n) for n in parents) and not self.fresh:
            self.result.attach.add(entry.id)

    def _is(self, number: int, entry: Entry) -> bool:
        found = self.entries[number]
        return (found.schema, found.name) == (entry.schema, entry.name)

    def _publish(self, entry: Entry) -> None:
        publications = [n for n in entry.needs if self.entries.get(n) and self.entries[n].type == "PUBLICATION"]
        tables = entry.needs & self.relations
        if not self.fresh and all(map(self.there, publications)) and not any(map(self.there, tables)):
            self.chosen.add(entry.id)

    def _foreign_key(self, entry: Entry) -> None:
        tables = set().union(*(self._tables_of(n) for n in entry.needs if n in self.entries))
        own = {
            n
            for n in tables
            if entry.schema == self.entries[n].schema and entry.name.startswith(f"{self.entries[n].name} ")
        }
        if tables <= self.chosen:
            self.chosen.add(entry.id)
        elif not self.fresh and own & self.chosen and all(self.there(n) for n in tables - self.chosen):
            if entry.body not in self.result.foreign_keys:
                self.result.foreign_keys.append(entry.body)
        else:
            self.result.left_out.append(entry.name)

    def _tables_of(self, number: int) -> set[int]:
        """The tables that an entry leads to: itself, or those that it needs."""
        return {number} if number in self.relations else set(self.entries[number].needs & self.relations)

    def _need(self) -> None:
        attached = {frozenset(e.needs & self.relations) for e in self.entries.values() if e.type == "TABLE ATTACH"}
        for number in list(self.chosen | self.made):
            entry = self.entries[number]
            for need in entry.needs - self.chosen - self.made:
                found = self.entries.get(need)
                if found is None or found.type in ("PUBLICATION", "INDEX", "CONSTRAINT"):
                    continue
                if found.type in _RELATIONS and frozenset((number, need)) in attached:
                    continue  # a partition is made by itself
                if not self.there(need):
                    self.made.add(need)
                    if found.type in _RELATIONS:
                        self.result.bare.append(f"{found.schema}.{found.name}")


def select(
    entries: Sequence[Entry],
    listing: Sequence[Line],
    tables: Sequence[str],
    schemas: Sequence[str],
    present: Optional[Present],
) -> Selection:
    """Choose tables (``name`` or ``schema.name``) and schemas, for a database that is there (``present`` looks into it), or for a new one
    (None).

    Raises:
        BadOption: something is not in the archive, or could be several.
    """
    chooser = _Chooser(entries, present)
    for name in tables:
        chooser.table(name)
    for name in schemas:
        chooser.schema(name)
    chooser.grow()
    result = chooser.result
    result.left_out = [name for name in result.left_out if not any(_named(e, name) for e in _of(chooser))]
    result.ids = chooser.chosen | chooser.made
    with_rows = chooser.chosen | {n for n in chooser.made if n not in chooser.relations}
    result.ids |= {line.id for line in listing if line.text.startswith(_DATA) and line.needs & with_rows}
    made = {(entry.schema, entry.name) for entry in entries if entry.type in _RELATIONS}
    for line in listing:
        found = _DATA_OF.match(line.text) if line.id not in result.ids else None
        if found and found[1] in schemas and (found[1], found[2]) not in made:
            result.of_extensions.append(f"{found[1]}.{found[2]}")
    chosen = [chooser.entries[number] for number in sorted(chooser.chosen & chooser.relations)]
    result.relations = [(entry.schema, entry.name) for entry in chosen]
    result.partitioned = {(entry.schema, entry.name) for entry in chosen if entry.partitioned}
    return result


def _of(chooser: _Chooser) -> list[Entry]:
    return [chooser.entries[n] for n in chooser.chosen if chooser.entries[n].type == "FK CONSTRAINT"]


def _named(entry: Entry, name: str) -> bool:
    return entry.name == name
