# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain dump understood before it is run: what it is, whether it is complete, of which database it speaks, and what of it must be left
out or said otherwise so that it writes into the one database that is asked for. Pure: reads a stream once."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.beyond import beyond, of_database
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import (
    BrokenScript,
    Inserts,
    Mark,
    Meta,
    Statement,
    unquoted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.lexer import read
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.meta import can_be_left_out, database_of
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.own import clause, properties
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.pieces import Pieces
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.rows import RowCounter
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import MAINTENANCE, Edit, Script

_FROM = re.compile(rb"^-- Dumped from database version (\S+)", re.MULTILINE)
_BY = re.compile(rb"^-- Dumped by pg_dump(?:all)? version (\S+)", re.MULTILINE)


# How a statement can begin: https://www.postgresql.org/docs/current/sql-commands.html
_BEGINNING = re.compile(
    r"abort|alter|analyse|analyze|begin|call|checkpoint|close|cluster|comment|commit|copy|create|deallocate|declare|delete|discard|do|drop"
    r"|end|execute|explain|fetch|grant|import|insert|listen|load|lock|merge|move|notify|prepare|reassign|refresh|reindex|release|repack"
    r"|reset|revoke|rollback|savepoint|security|select|set|show|start|table|truncate|unlisten|update|vacuum|values|wait|with|\("
)
_BOM = b"\xef\xbb\xbf"
_NOT_OF_IT = (
    "Nothing was touched. What another program said was written into the file: take it out, and make dumps by pg_dump --file, so that "
    "nothing else gets in."
)


_HYPERTABLES = ("_timescaledb_catalog", "hypertable")
_HYPERTABLES_BY_HAND = (
    "Nothing was touched. Do it by hand: make an empty database, CREATE EXTENSION timescaledb in the version of the source, SELECT "
    "timescaledb_pre_restore(), load the dump by psql or pg_restore, SELECT timescaledb_post_restore(), ANALYZE."
)
_OIDS = (
    "Nothing was touched. Take them away where they are still known (ALTER TABLE … SET WITHOUT OIDS), and dump anew; or make the dump by the "
    "pg_dump of PostgreSQL 12 or newer, which leaves them out."
)


def understand(source: Callable[[int], bytes], whole: bool = True) -> Script:
    """Read a whole script, or a part of one (roles and tablespaces, or definitions, as our own programs print them).
    ``source(n)`` gives its next bytes, at most n, and none at its end.

    Whatever is wrong with it is in ``problems``, in words; nothing is raised.
    """
    reader = _Reader(source, whole)
    try:
        for item in read(reader.source):
            reader.take(item)
    except BrokenScript as exc:
        reader.script.problems.append(f"{exc}: it is cut off or damaged")
        reader.script.cut = True
        return reader.script
    reader.finish()
    return reader.script


class _Reader:
    def __init__(self, source: Callable[[int], bytes], whole: bool) -> None:
        self._source, self._head, self._whole = source, b"", whole
        self.script = Script()
        self._rows = RowCounter(self.script)
        self._marks: list[str] = []
        self._open = False  # a transaction
        self._made = False  # something in a database
        self._pieces = Pieces(self.script)

    def source(self, most: int) -> bytes:
        """The script's bytes, whose beginning is kept."""
        data = self._source(most)
        if len(self._head) < 4096:
            begins = not self._head
            self._head += data[:4096]
            if begins and data.startswith(_BOM):  # psql would skip it, in a file of its own
                self.script.edits.append(Edit(0, len(_BOM)))
                return b" " * len(_BOM) + data[len(_BOM) :]
        return data

    def take(self, item: object) -> None:
        """The next thing in the script."""
        if isinstance(item, Mark):
            self._marks.append(item.text)
            self._pieces.mark(item.text)
            self._rows.by_pg_dump = True
            self.script.cluster = self.script.cluster or item.text.startswith("cluster")
        elif isinstance(item, Inserts):
            self._made = True
            self._pieces.fills()
            self._follows(["insert"])
            if item.table.lower().startswith("pg_"):
                self._refuse(item.line, "changes system catalogs by hand")
            self.script.statements += item.rows
            self._rows.inserts(item)
        elif isinstance(item, Meta):
            self._meta(item)
        elif isinstance(item, Statement):
            self._statement(item)

    def _refuse(self, line: int, what: str) -> None:
        if len(self.script.problems) < 5:
            self.script.problems.append(f"line {line} {what}")

    # Meta-commands

    def _meta(self, item: Meta) -> None:
        if can_be_left_out(item):
            self.script.edits.append(Edit(item.start, item.end))
            return
        name = database_of(item)
        if name is not None:
            self._connect(item, name)
            return
        shown = f"\\{item.name} {item.argument}".strip()
        self._refuse(item.line, f"has {shown[:60]!r}, a command to psql itself, which may run programs")

    def _connect(self, item: Meta, name: str) -> None:
        if self.script.cluster:
            if name not in self.script.databases and name not in MAINTENANCE:
                self._refuse(item.line, f"connects to the database {name!r}, which the script does not make")
            self.script.edits.append(Edit(item.start, item.end, connect=name))
            return
        if self._made and name not in self.script.databases:
            self._refuse(item.line, f"connects to the database {name!r} after it has made something elsewhere")
        self._speaks_of(item.line, name, "connects to")
        self.script.edits.append(Edit(item.start, item.end))

    def _speaks_of(self, line: int, name: str, how: str) -> None:
        if name in self.script.databases:
            return
        if self.script.databases and not self.script.cluster:
            self._refuse(line, f"{how} the database {name!r}, and the script is of {self.script.databases[0]!r}")
        self.script.databases.append(name)

    # Statements

    def _statement(self, item: Statement) -> None:
        words = item.words
        if not words:
            return
        self.script.statements += 1
        if self._whole and not _BEGINNING.fullmatch(words[0]):
            self._strange(item, words)
            return
        if not item.ended:
            self._refuse(item.line, "begins a statement that does not end: the script is cut off")
            self.script.cut = True
            return
        self._follows(words)
        if words == ["reset", "all"]:
            self._pieces.reset = item.line
            self.script.edits.append(Edit(item.start, item.end))
            return
        if self._cleans(words):
            self.script.edits.append(Edit(item.start, item.end))
            return
        self._pieces.statement(words)
        what = beyond(item, self.script.cluster or not self._whole)
        about = of_database(item) if self._whole else None
        if about is not None and (what is None or words[0] == "alter"):
            self._about(item, about.what, unquoted(words[about.name]), about.name)
        elif self.script.cluster and self._template(words):
            self.script.edits.append(Edit(item.start, item.end))
        elif what is not None:
            self._refuse(item.line, f"({' '.join(words[:4])} …) {what}")
        self._made = self._made or not (about or words[0] in ("set", "select", "reset"))
        self._transaction(words)
        self._rows.statement(item)
        if words[:2] in (["set", "client_min_messages"], ["set", "transaction_timeout"]):
            # Notices stay away, so that whatever the server says is an error, in any language; and servers before 17 do not know the
            # other one, which is off in our sessions.
            self.script.edits.append(Edit(item.start, item.end))
        if words[:2] == ["set", "default_with_oids"] and words[-1] in ("true", "on", "'true'", "'on'"):
            self._refuse(item.line, "makes tables with OIDs, which PostgreSQL has no more since 12")
            self.script.way_out = _OIDS
        if words[:2] == ["create", "schema"]:
            self.script.schemas.append(unquoted(words[5 if words[2:3] == ["if"] else 2]))
        if words[:2] == ["create", "extension"]:
            self.script.extensions.append(unquoted(words[5 if words[2:3] == ["if"] else 2]))
        if words[:2] == ["set", "default_tablespace"] and words[-1] != "''":
            self.script.spaces.append(Edit(item.start, item.end, b"SET default_tablespace = '';"))
        if self.script.cluster and self._of_server(words):
            self.script.globals.append(item)

    def _cleans(self, words: list[str]) -> bool:
        """Whether pg_dump --clean drops, before it makes anything: the database is new, and the statement would fail. The schema public
        is there, and is made anew."""
        if self._made or self.script.cluster or not self._marks:
            return False
        if words[0] == "drop":
            return words[1:2] not in (
                ["database"],
                ["subscription"],
                ["role"],
                ["user"],
                ["group"],
                ["tablespace"],
                ["owned"],
            ) and not (words[1:2] == ["schema"] and words[-1] == "public")
        return words[0] == "alter" and words[1:2] in (["table"], ["domain"]) and "drop" in words

    def _follows(self, words: list[str]) -> None:
        """A statement comes: nothing may have been reset before it, but where another dump begins."""
        line = self._pieces.broken_by(words)
        if line is not None:
            self._refuse(line, "(reset all) changes how the rest of the script is read")

    def _strange(self, item: Statement, words: list[str]) -> None:
        """No statement at all: another program's text, which ends where the next statement does, or nowhere."""
        self._refuse(item.line, f"is no statement of SQL: {' '.join(words[:8])!r}")
        self.script.way_out = self.script.way_out or _NOT_OF_IT

    def _about(self, item: Statement, what: str, name: str, number: int) -> None:
        if what == "create database":
            self._speaks_of(item.line, name, "makes")
            if not self.script.cluster:
                self.script.clause = clause(item, number)
                self.script.own.update(properties(item.words[number + 1 :], made=True) or {})
                self.script.edits.append(Edit(item.start, item.end))
            elif name in MAINTENANCE:
                self.script.edits.append(Edit(item.start, item.end))
            return
        if what == "drop database":
            if not self.script.cluster:
                self._speaks_of(item.line, name, "drops")
            self.script.edits.append(Edit(item.start, item.end))
            return
        if self.script.cluster:
            if name not in self.script.databases and name not in MAINTENANCE:
                self._refuse(item.line, f"({what}) is about the database {name!r}, which the script does not make")
            return
        self._speaks_of(item.line, name, f"({what}) is about")
        if item.words[number + 1 : number + 2] == [","]:
            self._refuse(item.line, f"({what}) is about several databases")
        if "rename" in item.words[number + 1 : number + 2]:
            self._refuse(item.line, f"({what}) renames the database")
        own = properties(item.words[number + 1 :])
        if own is not None:
            # Set when the database takes its name: until then a comment of ours marks it, and nobody is to be let in.
            self.script.own.update(own)
            self.script.edits.append(Edit(item.start, item.end))
            return
        token = item.tokens[number]
        self.script.edits.append(Edit(token.start, token.end, target=True))

    @staticmethod
    def _template(words: list[str]) -> bool:
        """What pg_dumpall --clean says of template1, so that it may be dropped."""
        text = " ".join(words)
        return re.fullmatch(
            r"update pg_catalog \. pg_database set datistemplate = (true|false) where datname = '(?:[^']|'')*'", text
        ) is not None  # fmt: skip

    @staticmethod
    def _of_server(words: list[str]) -> bool:
        return " ".join(words[:2]) in {
            f"{verb} {what}" for verb in ("create", "alter", "drop") for what in ("role", "user", "group", "tablespace")
        } or words[0] in ("grant", "revoke", "comment", "security")

    def _transaction(self, words: list[str]) -> None:
        if words[0] in ("begin", "start"):
            self._open = True
        elif words[0] in ("commit", "end"):
            self._open = False

    # The end

    def finish(self) -> None:
        """What can be said when all is read."""
        script = self.script
        script.crlf = self._head.partition(b"\n")[0].endswith(
            b"\r"
        )  # pg_dump's first line is --, and rows may hold any
        for name, pattern in (("of", _FROM), ("by", _BY)):
            found = pattern.search(self._head)
            if found:
                setattr(script, name, found.group(1).decode("ascii", "replace"))
        if self._open:
            script.problems.append("it opens a transaction that it never commits: it is cut off")
        if not self._whole:
            return
        kind = "cluster dump" if script.cluster else "dump"
        if self._marks and script.crlf:
            script.problems.append(
                "its line ends were changed to those of Windows, as a terminal (docker exec -t) and some transfers do: texts of several lines "
                "would be restored with them. Undo it: sed 's/\\r$//' (or dos2unix) into another file"
            )
        if self._marks:
            script.complete = self._marks[-1] == f"{kind} complete" and self._marks[0] == kind
            if self._marks[0] == f"{kind} complete":
                if script.way_out is None:
                    script.problems.append("its beginning is missing")
            elif not script.complete:
                script.problems.append(
                    f"its last line, '-- PostgreSQL database {kind} complete', is missing: it is cut off"
                )
            elif not script.cluster and not self._pieces.make_one(self._marks):
                script.problems.append("it holds several dumps, one behind the other")
        self._pieces.finish()
        if script.rows.get(_HYPERTABLES, 0) != 0:
            script.problems.append("it has hypertables of TimescaleDB, which come back only by steps of their own")
            script.way_out = script.way_out or _HYPERTABLES_BY_HAND
        if not script.statements and not script.problems:
            script.problems.append("it holds no statement: this is what a failed dump leaves")
