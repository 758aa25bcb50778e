# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts as psql reads them.

The kind: what looks like a command and is data, and what looks like data and is a command (row 1.1). Members tried: strings of each
kind, names, dollar quotes, nested comments, COPY's rows, BEGIN ATOMIC, standard_conforming_strings off, encodings whose characters
end in an ASCII letter, CRLF, each of them cut at each byte.
"""

from __future__ import annotations

import io

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import (
    BrokenScript,
    Inserts,
    Mark,
    Meta,
    Statement,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.lexer import read


def told(script: bytes, step: int = 1 << 20) -> list[str]:
    """The items in short: a statement's words, with the number of its rows; a command with its backslash."""
    stream = io.BytesIO(script)
    found = []
    for item in read(lambda most: stream.read(min(most, step))):
        if isinstance(item, Statement):
            rows = "" if item.rows is None else f" [{item.rows}]"
            found.append(" ".join(item.words) + rows + ("" if item.ended else " …"))
        elif isinstance(item, Meta):
            found.append(f"\\{item.name} {item.argument}".strip() + ("" if item.alone else " (within)"))
        elif isinstance(item, Inserts):
            found.append(f"{item.rows} into {item.table}")
        elif isinstance(item, Mark):
            found.append(f"-- {item.text}")
    return found


SCRIPTS = {
    "two statements": (b"SELECT 1; DROP TABLE a;\n", ["select 1", "drop table a"]),
    "a command": (b"\\! id\n", ["\\! id"]),
    "a command behind a statement": (b"SELECT 1 \\! id\n;", ["\\! id (within)", "select 1"]),
    "a command in a string": (b"SELECT '\n\\! id\n';", ["select '\n\\! id\n'"]),
    "a string that doubles its quote": (b"SELECT 'a''\n\\! id';", ["select 'a''\n\\! id'"]),
    "a string that ends at a backslash": (b"SELECT 'a\\'; \\! id", ["select 'a\\'", "\\! id (within)"]),
    "escapes": (b"SELECT E'a\\'; \\! id';", ["select E'a\\'; \\! id'"]),
    "escapes over two lines": (b"SELECT E'a'\n 'b\\'; \\! id';", ["select E'a'b\\'; \\! id'"]),
    "escapes, a comment between": (b"SELECT E'a' -- '\n'\\'; \\! x';", ["select E'a'\\'; \\! x'"]),
    "a word that ends in e": (b"SELECT date'a\\'; \\! id", ["select date 'a\\'", "\\! id (within)"]),
    "a name": (b'SELECT "\n\\! id;""x";', ['select "\n\\! id;""x"']),
    "dollars": (b"DO $$ ; \n\\! id\n $$;", ["do $$"]),
    "dollars with a tag": (b"DO $a$ $$ ;\n$b$ \\! $a$;", ["do $$"]),
    "a word with dollars": (b"SELECT a$$, b$$;", ["select a$$ , b$$"]),
    "a parameter": (b"SELECT $1, $2;", ["select $1 , $2"]),
    "comments": (b"-- \\! id ; '\n/* \\! /* ' */ ; \\! */ SELECT 1; -- end", ["select 1"]),
    "brackets": (b"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);",
                 ["create rule r as on insert to t do ( delete from a ; delete from b )"]),
    "an atomic body": (b"CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END;\\q\n",
                       ["create or replace function f ( ) returns int begin atomic select case when a then 1 end ; select 2 ; end",
                        "\\q (within)"]),
    "a transaction is no body": (b"BEGIN; SELECT 1; END;", ["begin", "select 1", "end"]),
    "rows": (b"COPY a (b) FROM stdin;\n\\! id\nDROP TABLE a;\n\\.x\n\\.\nSELECT 1;", ["copy a ( b ) from stdin [3]", "select 1"]),
    "no rows": (b"COPY a FROM stdin;\n\\.\n\\! x\n", ["copy a from stdin [0]", "\\! x"]),
    "rows with CRLF": (b"COPY a FROM STDIN;\r\n1\r\n2\r\n\\.\r\nSELECT 1;\r\n", ["copy a from stdin [2]", "select 1"]),
    "rows to the very end": (b"COPY a FROM stdin;\n1\n\\.", ["copy a from stdin [1]"]),
    "rows by the other name": (b"COPY a FROM stdout;\n\\! id\n\\.\n", ["copy a from stdout [1]"]),
    "rows of several lines": (b"COPY a FROM stdin WITH (FORMAT csv);\n\"1\n2\"\n\\.\n",
                              ["copy a from stdin with ( format csv ) [-1]"]),
    "a column called from": (b'COPY a ("from") FROM stdin;\n\\.\n', ['copy a ( "from" ) from stdin [0]']),
    "a query's rows go out": (b"COPY (SELECT 1 FROM stdin) TO stdout;\\q", ["copy ( select 1 from stdin ) to stdout", "\\q (within)"]),
    "another reading of strings": (b"SET standard_conforming_strings = off;\nSELECT 'a\\'; \\! x';",
                                   ["set standard_conforming_strings = off", "select 'a\\'; \\! x'"]),
    "and back": (b"SET standard_conforming_strings TO off;RESET ALL;SELECT 'a\\'; \\q",
                 ["set standard_conforming_strings to off", "reset all", "select 'a\\'", "\\q (within)"]),
    "characters that end in a backslash": (b"SET client_encoding = 'SJIS';\nSELECT E'\x83\x5c'; \\q\n",
                                           ["set client_encoding = 'SJIS'", "select E'xx'", "\\q (within)"]),
    "rows of such characters": (b"SET client_encoding = 'BIG5';\nCOPY a FROM stdin;\n\xa5\x5c\n\\.\nSELECT 1;",
                                ["set client_encoding = 'BIG5'", "copy a from stdin [1]", "select 1"]),
    "a byte order mark": (b"\xef\xbb\xbfSELECT 1;", ["select 1"]),
    "no semicolon": (b"SELECT 1", ["select 1 …"]),
    "rows by INSERT": (b"INSERT INTO a.b VALUES (1, 'x''y', -2);\nINSERT INTO a.b VALUES (2, ';', NULL);\nINSERT INTO c VALUES (1);\n",
                       ["2 into a.b", "1 into c"]),
    "INSERT with a call": (b"INSERT INTO a VALUES (f(1));\n", ["insert into a values ( f ( 1 ) )"]),
    "INSERT with escapes": (b"INSERT INTO a VALUES (E'\\'); \\! id');\n", ["insert into a values ( E'\\'); \\! id' )"]),
    "INSERT with a comment": (b"INSERT INTO a VALUES (1 -- ');\n, 2);\n", ["insert into a values ( 1 , 2 )"]),
    "INSERT and a command": (b"INSERT INTO a VALUES (1) \\! id\n;", ["\\! id (within)", "insert into a values ( 1 )"]),
    "marks": (b"--\n-- PostgreSQL database dump\n--\n\\restrict k\n\n-- PostgreSQL database dump complete\n--\n",
              ["-- dump", "\\restrict k", "-- dump complete"]),
    "nothing": (b"\n-- a comment\n", []),
    "semicolons alone": (b";;", ["", ""]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_a_statement_and_what_is_not(name: str) -> None:
    script, items = SCRIPTS[name]
    assert told(script) == items


@pytest.mark.parametrize("step", [1, 2, 3, 7])
@pytest.mark.parametrize("name", SCRIPTS)
def test_where_a_chunk_ends_does_not_matter(name: str, step: int) -> None:
    script, _items = SCRIPTS[name]
    whole = [words for words in told(script) if " into " not in words]
    assert [words for words in told(script, step) if " into " not in words] == whole


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (b"SELECT 'a", "within a string"),
        (b"SELECT E'a\\'", "within a string"),
        (b'SELECT "a', "within a quoted name"),
        (b"DO $a$ x $b$", "within a dollar-quoted string"),
        (b"/* a /* b */", "within a comment"),
        (b"COPY a FROM stdin;\n1\n2", "within the rows"),
        (b"COPY a FROM stdin;\n1\n\\.x\n", "within the rows"),
        (b"COPY a FROM stdin;", "rows of a table should come"),
        (b"COPY a FROM stdin; DROP TABLE b;\n\\.\n", "follows COPY"),
        (b"SELECT 1;\n" + b"\0" * 100, "zero bytes"),
        (b"a" * 100_000, "word of more than"),
    ],
)
@pytest.mark.parametrize("step", [3, 1 << 20])
def test_what_is_cut_off_or_damaged(script: bytes, words: str, step: int) -> None:
    with pytest.raises(BrokenScript, match=words):
        told(script, step)


def test_positions_and_lines() -> None:
    script = b"-- one\nSELECT 1;\n\nCOPY a FROM stdin;\n1\n\\.\n  SELECT 2;\n\\q\n"
    stream = io.BytesIO(script)
    items = [item for item in read(lambda most: stream.read(5)) if isinstance(item, (Statement, Meta))]
    assert [(item.line, script[item.start : item.end]) for item in items] == [
        (2, b"SELECT 1;"),
        (4, b"COPY a FROM stdin;"),
        (7, b"SELECT 2;"),
        (8, b"\\q"),
    ]


def test_memory_is_flat() -> None:
    """A row of 64 MB, a string of 64 MB: neither is kept."""
    import tracemalloc

    for begin, end in ((b"COPY a FROM stdin;\n", b"\n\\.\n"), (b"SELECT '", b"';"), (b"DO $$", b"$$;")):
        parts = iter([begin, *[b"x" * (1 << 20)] * 64, end])
        tracemalloc.start()
        items = list(read(lambda most, parts=parts: next(parts, b"")))  # type: ignore[misc]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(items) == 1
        assert peak < 8 << 20
