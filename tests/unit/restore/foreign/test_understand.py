# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script is judged to be, and what of it is refused, left out or said otherwise.

The kind (rows 1.1, 1.7): the script decides which database is written, runs programs, or ends too early. Each refused line was tried;
the same words in data, strings and definitions are let through.
"""

from __future__ import annotations

from io import BytesIO
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.edit import (
    Rendering,
    edited,
    merged,
    stop_at_copies,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Edit, Script
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.understand import understand

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.4\n-- Dumped by pg_dump version 16.1 (X)\n"
TAIL = b"\n--\n-- PostgreSQL database dump complete\n--\n"


def dump(body: str) -> bytes:
    return HEAD + body.encode() + TAIL


def judged(script: bytes) -> Script:
    return understand(BytesIO(script).read)


def run_as(script: bytes, target: str = "new") -> str:
    """What psql would get, without what comes before and behind."""
    found = judged(script)
    rendering = Rendering("KEY", target, "")
    text = b"".join(edited(BytesIO(script).read, found.edits, rendering))
    return text[len(rendering.begin()) : -len(rendering.end())].decode()


REFUSED = {
    "\\! id\n": "psql itself",
    "SELECT 1 \\! id\n;": "psql itself",
    "\\i /etc/passwd\n": "psql itself",
    "\\copy a from program 'id'\n": "psql itself",
    "\\o |sh\n": "psql itself",
    "\\set x `id`\n": "psql itself",
    "SELECT 1 \\gexec\n": "psql itself",
    " \\connect b\n": "psql itself",
    "\\connect -\n": "psql itself",
    "\\connect postgresql://other/b\n": "psql itself",
    "\\connect b other host\n": "psql itself",
    "\\restrict a \\! id\n": "psql itself",
    "CREATE DATABASE a; CREATE DATABASE b;": "'b', and the script is of 'a'",
    "CREATE TABLE t(n int); \n\\connect b\n": "after it has made something elsewhere",
    "DROP DATABASE a;\n\\connect b\n": "'b', and the script is of 'a'",
    "ALTER DATABASE a RENAME TO b;": "renames",
    "GRANT ALL ON DATABASE a, b TO c;": "several databases",
    "CREATE ROLE a;": "role",
    "ALTER USER a PASSWORD 'x';": "role",
    "DROP GROUP a;": "role",
    "GRANT a TO b;": "member",
    "DROP OWNED BY a;": "owns",
    "CREATE TABLESPACE a LOCATION '/x';": "tablespace",
    "ALTER SYSTEM SET a = 1;": "configuration",
    "COPY a FROM PROGRAM 'id';": "program",
    "COPY (SELECT 1) TO PROGRAM 'id';": "program",
    "COPY a FROM '/etc/passwd';": "file",
    "COPY a TO '/x';": "file",
    "LOAD 'x';": "library",
    "ROLLBACK;": "takes back",
    "PREPARE TRANSACTION 'x';": "prepared",
    "UPDATE pg_catalog.pg_class SET relname = 'x';": "catalogs",
    "INSERT INTO pg_authid VALUES (1);": "catalogs",
    "SELECT lo_import('/etc/passwd');": "lo_import",
    "SELECT pg_catalog.pg_terminate_backend (1);": "pg_terminate_backend",
    "WITH a AS (SELECT 1) SELECT pg_drop_replication_slot('x');": "pg_drop_replication_slot",
    "SELECT set_config('standard_conforming_strings', 'off', false);": "how the rest",
    "RESET ALL; SELECT 1;": "how the rest",
    "RESET ALL;\nINSERT INTO a VALUES (1);\n": "how the rest",
    "pg_dump: warning: x\nSELECT 1;": "line 7 is no statement of SQL: 'pg_dump : warning : x select 1'",
    "DISCARD ALL;": "how the rest",
    "SET standard_conforming_strings TO DEFAULT;": "how the rest",
    "CREATE SUBSCRIPTION a CONNECTION 'x' PUBLICATION b;": "subscribes",
    "ALTER SUBSCRIPTION a ENABLE;": "replication",
    "DROP SUBSCRIPTION a;": "publisher",
    "BEGIN; CREATE TABLE a(n int);": "never commits",
    "CREATE TABLE a (n int": "cut off",
    "COPY a FROM stdin;\n1\n": "within the rows",
    "-- PostgreSQL database dump\n": "several dumps",
}  # fmt: skip


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_refused(body: str) -> None:
    problems = judged(dump(body)).problems
    assert problems, "it was let through"
    assert REFUSED[body] in "; ".join(problems)


@pytest.mark.parametrize(
    "body",
    [
        "SET a = 1;",
        "COMMENT ON TABLE a IS 'of\r\nWindows';\r\n",
        "COPY a FROM stdin;\n\\! id\nDROP DATABASE a;\n\\connect b\n\\.\n",
        "SELECT '\n\\! id\n';",
        "COMMENT ON TABLE a IS 'DROP DATABASE b; \\! id';",
        "CREATE VIEW a AS SELECT pg_read_file('/etc/passwd');",
        "CREATE FUNCTION a() RETURNS void LANGUAGE sql AS $$ CREATE ROLE b; $$;",
        "CREATE USER MAPPING FOR a SERVER b;",
        "DROP USER MAPPING FOR a SERVER b;",
        "GRANT SELECT ON a TO b;",
        "GRANT SELECT(b) ON a TO b WITH GRANT OPTION;",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;",
        "CREATE SUBSCRIPTION a CONNECTION 'x' PUBLICATION b WITH (connect = false, slot_name = 'c');",
        "ALTER SUBSCRIPTION a OWNER TO b;",
        "SELECT pg_catalog.lo_create('1');",
        "SELECT pg_catalog.setval('a', 1, true);",
        "BEGIN; CREATE TABLE a(n int); SAVEPOINT b; ROLLBACK TO b; COMMIT;",
        'CREATE TABLE "drop database" (n int);',
        "CREATE TABLE a (database text, role text);",
        "SET SESSION AUTHORIZATION a;",
        "RESET ALL;",
        "(SELECT 1);",
        "\\set ON_ERROR_STOP on\n\\timing\n\\echo x\nSELECT 1;",
    ],
)
def test_what_is_let_through(body: str) -> None:
    assert judged(dump(body)).problems == []


def test_a_dump_with_its_own_database_writes_into_the_one_that_is_asked_for() -> None:
    script = dump(
        "\\restrict k\nDROP DATABASE IF EXISTS \"a 'b\";\nCREATE DATABASE \"a 'b\" WITH TEMPLATE = template0 ENCODING = 'UTF8' "
        "LOCALE = 'C' TABLESPACE = \"an x\" CONNECTION LIMIT = 7;\nCOMMENT ON DATABASE \"a 'b\" IS 'it''s';\nALTER DATABASE \"a 'b\" IS_TEMPLATE = true;\n"
        'ALTER DATABASE "a \'b" OWNER TO me;\n\\unrestrict k\n\\encoding SQL_ASCII\n'
        "\\connect -reuse-previous=on \"dbname='a \\'b'\"\n\\restrict k\nCREATE TABLE t (n int);\n"
        "ALTER ROLE r IN DATABASE \"a 'b\" SET a TO 'b';\nGRANT ALL ON DATABASE \"a 'b\" TO r;\n\\unrestrict k\n"
    )
    found = judged(script)
    assert (found.problems, found.database, found.by, found.of) == ([], "a 'b", "16.1", "15.4")
    assert found.clause == "WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C'"
    assert found.own == {"tablespace": "an x", "connection_limit": 7, "comment": "it's", "is_template": True}
    text = run_as(script, 'the "new"')
    lines = [line for line in text.splitlines() if line and not line.startswith("--")]
    assert lines == [
        'ALTER DATABASE "the ""new""" OWNER TO me;',
        "CREATE TABLE t (n int);",
        'ALTER ROLE r IN DATABASE "the ""new""" SET a TO \'b\';',
        'GRANT ALL ON DATABASE "the ""new""" TO r;',
    ]
    assert text.count("\n") == script.count(b"\n")  # psql's line numbers are the script's


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (HEAD + b"SELECT 1;\n", "last line"),
        (b"SELECT 1;\n" + TAIL, "beginning is missing"),
        (HEAD, "last line"),
        (dump("SELECT 1;").replace(b"\n", b"\r\n"), "line ends"),
        (b"", "no statement"),
        (b"-- nothing\n", "no statement"),
        (dump("") + dump(""), "several dumps"),
        (dump("") + HEAD, "last line"),
        (dump("COPY a FROM stdin;\n1\n\\.\n")[:-60], "last line"),
    ],
)
def test_what_is_not_complete(script: bytes, words: str) -> None:
    assert words in "; ".join(judged(script).problems)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            b'Defaulted container "postgres" out of: postgres\n' + dump("SELECT 1;"),
            "line 1 is no statement of SQL: 'defaulted container",
        ),
        (
            b"WARNING: The X variable is not set\n" + dump("SELECT 1;"),
            "line 1 is no statement of SQL: 'warning : the x",
        ),
        (dump("SELECT 1;") + b"pg_dump: warning: x\n", "is no statement of SQL: 'pg_dump : warning : x'"),
        (b'pg_dump: error: connection to server at "x" failed\n', "is no statement of SQL: 'pg_dump : error"),
    ],
)
def test_what_another_program_said(script: bytes, words: str) -> None:
    """Kind: standard error, or a wrapper's words, in the file. Members: before, behind, within, and nothing else. Found: "cut off", "its
    beginning is missing", or tried and failed in the middle."""
    found = judged(script)
    assert words in found.problems[0] and "another program" in str(found.way_out)


def test_a_byte_order_mark_is_left_out() -> None:
    """An editor or PowerShell wrote it; psql skips one at a file's beginning, and ours begins otherwise."""
    script = b"\xef\xbb\xbf" + dump("SELECT 1;")
    assert judged(script).problems == [] and judged(script).complete
    assert run_as(script).startswith("--\n-- PostgreSQL")


def test_what_supabase_writes_at_the_end() -> None:
    script = dump("SELECT 1;") + b"\nRESET ALL;\n"
    assert judged(script).problems == [] and "RESET" not in run_as(script)


@pytest.mark.parametrize(("rows", "refused"), [("1\t_timescaledb_internal\n", True), ("", False)])
def test_hypertables_come_back_by_hand(rows: str, refused: bool) -> None:
    """Kind: an extension whose rows come back only by steps of its own. Found: failed after all the work, in its catalogue's keys. A dump of
    a database that only has the extension is restored as ever."""
    body = f"CREATE EXTENSION timescaledb;\nCOPY _timescaledb_catalog.hypertable (id, schema_name) FROM stdin;\n{rows}\\.\n"
    found = judged(dump(body))
    assert ("timescaledb_pre_restore" in str(found.way_out)) == refused == bool(found.problems)


# As pg_dump 9.6 writes it: tables without their schema, and a setting that is gone.
OLD = """SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;
SET search_path = public, pg_catalog;
SET default_tablespace = '';
SET default_with_oids = false;
CREATE TABLE orders (id integer NOT NULL);
CREATE TABLE "Days" (day integer);
COPY orders (id) FROM stdin;
1
2
\\.
SET search_path = sales, pg_catalog;
CREATE TABLE orders (id integer);
INSERT INTO orders VALUES (1);
INSERT INTO orders (id) VALUES (2), (3);
SELECT pg_catalog.setval('orders_id_seq', 2, true);
"""


def test_what_servers_before_12_wrote() -> None:
    """Kind: dumps by programs of another age. Members: tables with OIDs, which no server since 12 has (failed half-way, without a way out);
    tables whose schema is said once, by ``search_path`` (before 10.3): no rows were compared, and two of a name were one."""
    found = judged(dump(OLD))
    assert found.problems == []
    rows = [(row["schema"], row["table"], row["rows"]) for row in found.tables()]
    assert rows == [("public", "orders", 2), ("sales", "orders", 3)]
    assert found.made == {("public", "orders"), ("public", "Days"), ("sales", "orders")}
    with_oids = judged(dump(OLD.replace("default_with_oids = false", "default_with_oids = true")))
    assert "OIDs" in str(with_oids.problems) and "WITHOUT OIDS" in str(with_oids.way_out)


SCHEMA = 'CREATE TABLE IF NOT EXISTS "public"."a" ("n" int);\n'
ROWS = 'COPY "public"."a" ("n") FROM stdin;\n1\n2\n\\.\n'
SETS = "SET statement_timeout = 0;\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"
# Supabase's command line leaves pg_dump's comments out, and ends each file so.
SUPABASE = [f"{SETS}{SCHEMA}RESET ALL;\n", f"SET session_replication_role = replica;\n{SETS}{ROWS}RESET ALL;\n"]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (dump(SCHEMA) + dump(ROWS), None),
        (dump(SCHEMA) + dump(ROWS) + dump("CREATE INDEX ON a (n);\n"), None),
        ("".join(SUPABASE).encode(), None),
        (dump(SCHEMA + ROWS) + dump(SCHEMA + ROWS), "several dumps"),
        (dump(SCHEMA) + dump(ROWS) + dump(ROWS), "several dumps"),
        (dump(SCHEMA + ROWS) + dump("CREATE TABLE b (n int);\n"), "several dumps"),
        (dump(ROWS) + dump(SCHEMA), "several dumps"),
        (dump(SCHEMA)[: -len(TAIL)] + dump(ROWS), "several dumps"),
        ((SUPABASE[0] + ROWS).encode(), "reset all"),
        ((SUPABASE[0] + "SET client_encoding = 'UTF8';\n" + ROWS).encode(), "reset all"),
    ],
)
def test_a_database_in_several_files_one_behind_the_other(script: bytes, problem: Optional[str]) -> None:
    """Kind: one database in several files. Members: pg_dump's definitions and rows apart, its three sections, Supabase's files without any
    comment; two dumps in one file, of one database or of two, are still refused."""
    found = judged(script)
    if problem is None:
        assert found.problems == [] and not found.only_rows
        assert found.rows == {("public", "a"): 2} and found.made == {("public", "a")}
    else:
        assert problem in str(found.problems)


@pytest.mark.parametrize(
    ("script", "rows", "roles"),
    [
        (dump(ROWS), True, False),
        (SUPABASE[1].encode(), True, False),
        (dump("INSERT INTO a VALUES (1);\nSELECT pg_catalog.setval('a_seq', 2, true);\n"), True, False),
        (dump("CREATE EXTENSION x;\n" + ROWS), False, False),
        (dump(SCHEMA), False, False),
        (b'ALTER ROLE "anon" SET "statement_timeout" TO \'3s\';\nGRANT a TO b;\nRESET ALL;\n', False, True),
        (dump("CREATE ROLE x;\n" + SCHEMA), False, False),
        (dump("CREATE USER MAPPING FOR a SERVER b;\n"), False, False),
    ],
)
def test_a_piece_is_known_for_what_it_is(script: bytes, rows: bool, roles: bool) -> None:
    found = judged(script)
    assert (found.only_rows, found.only_roles) == (rows, roles)


def test_extensions_are_known() -> None:
    found = judged(dump('CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA a;\nCREATE EXTENSION hstore;'))
    assert found.extensions == ["uuid-ossp", "hstore"]


def test_what_cleans_a_new_database_is_left_out() -> None:
    """Kind: ``pg_dump --clean`` without ``--if-exists`` drops what a new database has not. Members: constraints, defaults, all kinds of
    DROP; public, which is there, is dropped and made; nothing of it once something was made. Found: failed at the first one."""
    script = dump(
        "SET a = 1;\nALTER TABLE ONLY public.t DROP CONSTRAINT t_pkey;\nALTER TABLE public.t ALTER COLUMN n DROP DEFAULT;\n"
        "DROP INDEX public.i;\nDROP TABLE public.t;\nDROP EXTENSION plpgsql;\nDROP SCHEMA sales;\nDROP SCHEMA public;\n"
        "CREATE SCHEMA public;\nCREATE TABLE public.t (n int);\nDROP TABLE public.t;\n"
    )
    assert judged(script).problems == []
    lines = [line for line in run_as(script).splitlines() if line and not line.startswith("--")]
    assert lines == [
        "SET a = 1;", "DROP SCHEMA public;", "CREATE SCHEMA public;", "CREATE TABLE public.t (n int);", "DROP TABLE public.t;",
    ]  # fmt: skip
    assert "DROP TABLE" in run_as(b"DROP TABLE t;\nCREATE TABLE t (n int);\n")  # another tool's script is as it is


def test_schemas_that_a_dump_of_parts_lacks() -> None:
    found = judged(
        dump("CREATE SCHEMA a;\nCREATE TABLE a.t (n int);\nCREATE TABLE b.t (n int);\nCREATE TABLE public.t (n int);")
    )
    assert (found.schemas, found.homeless()) == (["a"], ["b"])


def test_every_cut_of_a_dump_is_seen() -> None:
    script = dump(
        "CREATE TABLE a (n text);\nCOPY a FROM stdin;\nx\n-- PostgreSQL database dump complete\n\\.\nSELECT 1;\n"
    )
    end = script.rindex(b" complete") + len(" complete")
    assert not judged(script[:end]).problems
    for length in range(end):
        assert judged(script[:length]).problems, script[:length]


def test_rows_are_counted_to_the_root_of_partitions() -> None:
    script = dump(
        'CREATE TABLE s.p (n int) PARTITION BY RANGE (n);\nCREATE TABLE s.p1 (n int);\nCREATE TABLE s."P 2" PARTITION OF s.p DEFAULT;\n'
        "ALTER TABLE ONLY s.p ATTACH PARTITION s.p1 FOR VALUES FROM (1) TO (2);\nCREATE TABLE s.i (n int);\nCREATE TABLE s.m (n int);\n"
        "CREATE FOREIGN TABLE s.f (n int) SERVER x;\nCREATE TABLE s.c (n text);\nCREATE TABLE s.e (n int);\n"
        'COPY s.p1 (n) FROM stdin;\n1\n1\n\\.\nCOPY s."P 2" FROM stdin;\n7\n\\.\nCOPY s.f FROM stdin;\n1\n\\.\nCOPY ext.t FROM stdin;\n1\n\\.\n'
        'COPY s.e FROM stdin;\n\\.\nCOPY s.c FROM stdin WITH (FORMAT csv);\n"1\n2"\n\\.\n'
        "INSERT INTO s.i VALUES (1);\nINSERT INTO s.i VALUES (2);\nINSERT INTO s.m VALUES\n\t(1),\n\t(2);\nINSERT INTO s.m VALUES (f((3)));\n"
    )
    assert [(row["table"], row["rows"]) for row in judged(script).tables()] == [
        ("c", None), ("e", 0), ("i", 2), ("m", 3), ("p", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "{fill}DELETE FROM s.t;",
        "{fill}DROP TABLE s.t;",
        "{fill}ALTER TABLE s.t RENAME TO u;",
        "{fill}ALTER TABLE s.t SET SCHEMA u;",
        "{fill}DO $$ DELETE FROM s.t $$;",
        "CREATE TRIGGER x BEFORE INSERT ON s.t EXECUTE FUNCTION y();{fill}",
        "CREATE OR REPLACE RULE x AS ON INSERT TO s.t DO INSTEAD NOTHING;{fill}",
    ],
)
def test_rows_that_may_be_changed_are_not_counted(body: str) -> None:
    script = "CREATE TABLE s.t (n int);" + body.replace("{fill}", "\nINSERT INTO s.t VALUES (1);\n")
    assert [row["rows"] for row in judged(script.encode()).tables()] == [None]


CLUSTER = (
    b"--\n-- PostgreSQL database cluster dump\n--\n\\restrict k\nSET default_transaction_read_only = off;\nDROP DATABASE IF EXISTS a;\n"
    b"DROP ROLE IF EXISTS postgres;\nCREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER PASSWORD 'x';\n\\unrestrict k\n"
    + HEAD
    + b"UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = 'template1';\nDROP DATABASE template1;\n"
    b"CREATE DATABASE template1 WITH TEMPLATE = template0;\n\\connect template1\n"
    + TAIL
    + HEAD
    + b"CREATE DATABASE a;\nALTER DATABASE a OWNER TO postgres;\n\\connect a\nCREATE TABLE t (n int);\n"
    + TAIL
    + b"--\n-- PostgreSQL database cluster dump complete\n--\n"
)


def test_a_cluster_s_script_makes_its_databases_and_drops_none() -> None:
    found = judged(CLUSTER)
    assert (found.problems, found.cluster, found.complete) == ([], True, True)
    text = run_as(CLUSTER)
    assert "DROP DATABASE" not in text and "CREATE DATABASE template1" not in text and "datistemplate" not in text
    assert "CREATE DATABASE a;" in text
    assert "\\unrestrict KEY\n\\connect -reuse-previous=on \"dbname='a'\"\n" in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"\\connect a\n", b"\\connect other\n", "'other', which the script does not make"),
        (b"ALTER DATABASE a ", b"ALTER DATABASE other ", "'other', which the script does not make"),
        (b"CREATE TABLE", b"ALTER SYSTEM SET a = 1; CREATE TABLE", "configuration"),
        (b"CREATE TABLE", b"\\! id\nCREATE TABLE", "psql itself"),
        (b" cluster dump complete", b" cluster dum", "cut off"),
    ],
)
def test_what_a_cluster_s_script_may_not(old: bytes, new: bytes, words: str) -> None:
    assert words in "; ".join(judged(CLUSTER.replace(old, new)).problems)


def test_a_failing_copy_ends_the_run_though_errors_are_allowed() -> None:
    script = b"SELECT 1;\nCOPY a FROM stdin;\n\\! id\n\\.\nSELECT 2;\n"
    text = b"".join(
        edited(BytesIO(script).read, stop_at_copies(judged(script), "KEY"), Rendering("KEY", "x", ""))
    ).decode()
    before, _copy, behind = text.partition("COPY a")
    assert before.rstrip().endswith("\\set ON_ERROR_STOP 1\n\\restrict KEY")
    assert "\\.\n\n\\unrestrict KEY\n\\set ON_ERROR_STOP 0\n\\restrict KEY\nSELECT 2;" in behind


def test_edits_in_any_chunks() -> None:
    script = b"0123456789" * 30
    edits = [Edit(5, 7), Edit(0, 1, b"a"), Edit(290, 300, b"end"), Edit(100, 100, b"|")]
    for step in (1, 3, 7, 1000):
        stream = BytesIO(script)
        rendering = Rendering("K", "x", "")
        text = b"".join(edited(lambda most, stream=stream, step=step: stream.read(step), edits, rendering))  # type: ignore[misc]
        body = text[len(rendering.begin()) : -len(rendering.end())]
        assert body == b"a1234789" + script[10:100] + b"|" + script[100:290] + b"end"


def test_edits_of_statements_that_are_left_out_are_none() -> None:
    assert merged([Edit(0, 10)], [Edit(3, 4, b"x"), Edit(0, 10), Edit(10, 11)]) == [Edit(0, 10), Edit(10, 11)]
