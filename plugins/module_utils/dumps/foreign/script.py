# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain dump understood before it is run: what it is, whether it is complete, of which database it speaks, and what of it must be left
out or said otherwise so that it writes into the one database that is asked for. Pure: reads a stream once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.beyond import beyond, of_database
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.lexer import (
    BrokenScript,
    Inserts,
    Mark,
    Meta,
    Statement,
    read,
)

_FROM = re.compile(rb"^-- Dumped from database version (\S+)", re.MULTILINE)
_BY = re.compile(rb"^-- Dumped by pg_dump(?:all)? version (\S+)", re.MULTILINE)
_CONNECT = re.compile(
    r'(?:-reuse-previous=\w+\s+)?(?:"dbname=\'((?:[^\'\\]|\\.)*)\'"|"((?:[^"]|"")+)"|([^\s\'"\\:=-][^\s\'"\\:=]*))\s*'
)
_KEY = re.compile(r"[A-Za-z0-9]+\s*")
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
    in the middle; ``crlf``: its lines end as on Windows.
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

    @property
    def database(self) -> Optional[str]:
        """The one database that it speaks of, where it does."""
        return self.databases[0] if len(self.databases) == 1 else None

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
        self._marks: list[str] = []
        self._open = False  # a transaction
        self._made = False  # something in a database
        self._fires = False  # triggers or rules, which may change what is filled behind them

    def source(self, most: int) -> bytes:
        """The script's bytes, whose beginning is kept."""
        data = self._source(most)
        if len(self._head) < 4096:
            self._head += data[:4096]
        return data

    def take(self, item: object) -> None:
        """The next thing in the script."""
        if isinstance(item, Mark):
            self._marks.append(item.text)
            self.script.cluster = self.script.cluster or item.text.startswith("cluster")
        elif isinstance(item, Inserts):
            self._made = True
            if item.table.lower().startswith("pg_"):
                self._refuse(item.line, "changes system catalogs by hand")
            self.script.statements += item.rows
            self._count(_table(item.table), item.rows)
        elif isinstance(item, Meta):
            self._meta(item)
        elif isinstance(item, Statement):
            self._statement(item)

    def _refuse(self, line: int, what: str) -> None:
        if len(self.script.problems) < 5:
            self.script.problems.append(f"line {line} {what}")

    # Meta-commands

    def _meta(self, item: Meta) -> None:
        cut = Edit(item.start, item.end)
        if item.alone and item.name in ("restrict", "unrestrict") and _KEY.fullmatch(item.argument):
            self.script.edits.append(cut)  # ours stand in their place
            return
        if item.alone and item.name == "encoding" and re.fullmatch(r"\w+\s*", item.argument):
            self.script.edits.append(cut)
            return
        if item.alone and item.name in ("connect", "c"):
            found = _CONNECT.fullmatch(item.argument)
            if found:
                text, quoted, plain = found.groups()
                name = (
                    re.sub(r"\\(.)", r"\1", text.replace('""', '"'))
                    if text is not None
                    else (quoted or plain).replace('""', '"')
                )
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
        if not item.ended:
            self._refuse(item.line, "begins a statement that does not end: the script is cut off")
            self.script.cut = True
            return
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
        self._fills(item, words)
        if words[:2] in (["set", "client_min_messages"], ["set", "transaction_timeout"]):
            # Notices stay away, so that whatever the server says is an error, in any language; and servers before 17 do not know the
            # other one, which is off in our sessions.
            self.script.edits.append(Edit(item.start, item.end))
        if words[:2] == ["set", "default_tablespace"] and words[-1] != "''":
            self.script.spaces.append(Edit(item.start, item.end, b"SET default_tablespace = '';"))
        if self.script.cluster and self._of_server(words):
            self.script.globals.append(item)

    def _about(self, item: Statement, what: str, name: str, number: int) -> None:
        if what == "create database":
            self._speaks_of(item.line, name, "makes")
            if not self.script.cluster:
                self.script.clause = _clause(item, number)
                self.script.own.update(_own(item.words[number + 1 :], made=True) or {})
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
        own = _own(item.words[number + 1 :])
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

    def _fills(self, item: Statement, words: list[str]) -> None:
        if words[0] == "copy" and item.rows is not None:
            self.script.copies.append((item.start, item.after))
            found = _named(words, 2 if words[1:2] == ["binary"] else 1)
            self._count(found, None if item.rows < 0 else item.rows)
        elif words[:2] == ["insert", "into"]:
            self._count(_named(words, 2), _tuples(words))
        elif self._changes(words):
            self.script.rows = dict.fromkeys(self.script.rows)
        elif words[:2] == ["alter", "table"] and "attach" in words:
            at = words.index("attach")
            if words[at : at + 2] == ["attach", "partition"]:
                parent = _named(words, 3 if words[2] == "only" else 2)
                self._belongs(_named(words, at + 2), parent)
        elif words[0] == "create" and "table" in words[1:3] and "foreign" not in words[1:3]:
            where = words.index("table") + 1
            where += 3 if words[where : where + 3] == ["if", "not", "exists"] else 0
            made = _named(words, where)
            if made is not None:
                self.script.made.add(made)
            if "partition" in words:
                at = words.index("partition")
                if words[at : at + 2] == ["partition", "of"]:
                    self._belongs(made, _named(words, at + 2))

    def _belongs(self, child: Optional[Table], parent: Optional[Table]) -> None:
        if child is not None and parent is not None and child != parent:
            self.script.parents[child] = parent

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
            return not self._marks
        return words[0] in ("update", "delete", "truncate", "merge", "with", "call", "do", "execute")

    def _count(self, table: Optional[Table], rows: Optional[int]) -> None:
        if table is None or self.script.cluster:
            return
        before = self.script.rows.get(table, 0)
        self.script.rows[table] = None if before is None or rows is None or self._fires else before + rows

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
                script.problems.append("its beginning is missing")
            elif not script.complete:
                script.problems.append(
                    f"its last line, '-- PostgreSQL database {kind} complete', is missing: it is cut off"
                )
            elif not script.cluster and self._marks.count("dump") > 1:
                script.problems.append("it holds several dumps, one behind the other")
        if not script.statements and not script.problems:
            script.problems.append("it holds no statement: this is what a failed dump leaves")


def unquoted(word: str) -> str:
    """A name as it is, from how SQL writes it."""
    if word[:1] == '"' and word[-1:] == '"':
        return word[1:-1].replace('""', '"')
    if word[:1] == "'" and word[-1:] == "'":
        return word[1:-1].replace("''", "'")
    return word


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


def _clause(item: Statement, number: int) -> Optional[str]:
    """``WITH …`` of CREATE DATABASE: encoding and locale alone, safely written anew."""
    words, found = item.words[number + 1 :], []
    names = {
        "encoding",
        "lc_collate",
        "lc_ctype",
        "locale",
        "locale_provider",
        "icu_locale",
        "icu_rules",
        "builtin_locale",
    }
    for at, word in enumerate(words):
        if word in names:
            value = words[at + 2] if words[at + 1 : at + 2] == ["="] else "".join(words[at + 1 : at + 2])
            if re.fullmatch(r"'(?:[^'\\]|'')*'|\w+", value):
                found.append(f"{word.upper()} = {value}")
    return "WITH TEMPLATE = template0 " + " ".join(found) if found else None


def _own(words: list[str], made: bool = False) -> Optional[dict[str, Any]]:
    """What a statement says of a database, behind its name, as properties; None: something else. ``made``: it is CREATE DATABASE."""
    plain = [word for word in words if word not in ("=", "with")]
    found: dict[str, Any] = {}
    for at, word in enumerate(plain[:-1]):
        value = plain[at + 1]
        if word == "limit" and plain[at - 1] == "connection" and value.lstrip("-").isdigit():
            found["connection_limit"] = int(value)
        elif word in ("is_template", "allow_connections"):
            found[word] = value in ("true", "on", "1")
        elif word == "tablespace" and made:
            found["tablespace"] = unquoted(value)
    if plain[:1] == ["is"] and len(plain) == 2 and (plain[1] == "null" or plain[1][:1] == "'" and plain[1][-1:] == "'"):
        found["comment"] = None if plain[1] == "null" else unquoted(plain[1])
    return found or None
