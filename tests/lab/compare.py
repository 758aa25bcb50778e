# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are two servers the same? Judged by pg_dump and by queries of our own, not by anything of the collection.

Everything that is compared becomes a fact, *where* (a database, or the cluster) and *what*, with a text as value.
Not compared, because a restore is not to bring it back: physical order, oids (but those of large objects), statistics,
the places of tablespaces, replication slots, indexes that are invalid, and the rows of foreign tables.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Union

from psycopg2 import sql as pgsql

from .servers import Installation, Server

CLUSTER = "cluster"
# What ALTER ROLE ALL sets for all databases: pg_dumpall loses it (15 to 18), so a restore by stock tools must ignore it.
SETTINGS_OF_ALL = "settings of all roles in all databases"

Facts = dict[tuple[str, str], str]

# How values are written depends on these, and databases and roles may set them.
SESSION: Mapping[str, str] = {
    "search_path": "pg_catalog",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "statement_timeout": "0",
}

ENTRY = re.compile(
    r"^--\n-- (?:Data for )?Name: (?P<name>.*); Type: (?P<type>.*?); Schema: (?P<schema>.*); Owner: .*\n--\n", re.M
)
# What belongs to no entry, and in part to no database: the tokens of \restrict, versions, the last line.
# pg_dump writes these before the entry that they are for, unless they are as before: so they stand at the end of the
# entry above, whatever it is. A tablespace stands in its entry's heading too, an access method nowhere else.
STATE = re.compile(r"^SET (?:default_tablespace = .*|default_table_access_method = (.*));$\n?", re.M)
INCOMPARABLE = re.compile(
    r"^(\\(un)?restrict [A-Za-z0-9]+|-- Dumped (from|by) .*|-- PostgreSQL database dump complete)$\n?", re.M
)


@dataclass(frozen=True)
class Snapshot:
    """All facts of a server at one time."""

    server: str
    facts: Facts


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same on both sides; None where a side does not have it."""

    where: str
    what: str
    left: str | None
    right: str | None

    def __str__(self) -> str:
        title = f"{self.where}: {self.what}"
        if self.left is None or self.right is None:
            side, value = ("right", self.right) if self.left is None else ("left", self.left)
            return f"{title}: only on the {side}: {_short(value or '')}"
        if "\n" not in self.left + self.right:
            return f"{title}:\n  left  {self.left}\n  right {self.right}"
        lines = difflib.unified_diff(self.left.splitlines(), self.right.splitlines(), "left", "right", lineterm="", n=1)
        return f"{title}:\n" + "\n".join(f"  {line}" for line in lines)


def snapshot(
    server: Server,
    databases: Iterable[str] | None = None,
    *,
    passwords: bool = True,
    tools: Installation | None = None,
) -> Snapshot:
    """The facts of some databases, or of all and of the cluster itself. `tools` has the pg_dump to use."""
    names = sorted(databases) if databases is not None else server.databases()
    facts: Facts = {}
    if databases is None:
        facts.update(_cluster(server, passwords))
    with ThreadPoolExecutor(max_workers=2) as pool:
        for found in pool.map(lambda db: _database(server, db, tools or server.installation), names):
            facts.update(found)
    return Snapshot(repr(server), facts)


def compare(
    a: Snapshot, b: Snapshot, renamed: Mapping[str, str] | None = None, ignore: Iterable[str] = ()
) -> list[Difference]:
    """All differences. `renamed` says which database of `a` is which one of `b`; `ignore` has patterns for *what*."""
    back = {new: old for old, new in (renamed or {}).items()}
    right = {(back.get(where, where), what): value for (where, what), value in b.facts.items()}
    patterns = tuple(ignore)
    return [
        Difference(where, what, a.facts.get((where, what)), right.get((where, what)))
        for where, what in sorted(a.facts.keys() | right.keys())
        if a.facts.get((where, what)) != right.get((where, what))
        and not any(fnmatchcase(what, pattern) for pattern in patterns)
    ]


def assert_same(
    a: Union[Server, Snapshot],
    b: Union[Server, Snapshot],
    databases: Iterable[str] | Mapping[str, str] | None = None,
    *,
    ignore: Iterable[str] = (),
    passwords: bool = True,
) -> None:
    """Raise AssertionError with a readable list of what differs.

    With `databases` only those are compared, and nothing of the cluster; a mapping gives the names that databases
    of `a` have in `b`. Of two servers, the newer one's pg_dump reads both. Snapshots are taken as they are.
    """
    renamed = databases if isinstance(databases, Mapping) else {name: name for name in databases or ()}
    tools = max((side.installation for side in (a, b) if isinstance(side, Server)), key=lambda i: i.major, default=None)

    def taken(side: Union[Server, Snapshot], names: Iterable[str]) -> Snapshot:
        if isinstance(side, Server):
            return snapshot(side, None if databases is None else names, passwords=passwords, tools=tools)
        if databases is None:
            return side
        wanted = set(names)
        return Snapshot(side.server, {key: value for key, value in side.facts.items() if key[0] in wanted})

    left, right = taken(a, renamed.keys()), taken(b, renamed.values())
    if not left.facts:
        raise AssertionError(f"nothing to compare: {left.server} has none of {sorted(renamed)}")
    found = compare(left, right, renamed, ignore)
    if found:
        text = "\n".join(str(difference) for difference in found[:40])
        more = f"\n… and {len(found) - 40} more" if len(found) > 40 else ""
        raise AssertionError(f"{len(found)} differences, left {left.server}, right {right.server}\n{text}{more}")


# The cluster

MEMBERSHIPS_OF_15 = "m.admin_option, member.rolinherit AS inherit_option, true AS set_option"
MEMBERSHIPS = "m.admin_option, m.inherit_option, m.set_option"


def _cluster(server: Server, passwords: bool) -> Facts:
    with closing(server.connect()) as connection:
        _prepare(connection)
        facts = _facts(
            connection,
            CLUSTER,
            f"""
            SELECT 'role ' || rolname, jsonb_pretty(to_jsonb(r) - '{{oid,rolpassword,rolconfig,rolname}}'::text[]
                || jsonb_build_object('comment', shobj_description(oid, 'pg_authid')))
            FROM pg_roles r WHERE oid >= 16384 OR oid = 10
            UNION ALL
            SELECT format('membership of %s in %s, granted by %s', member.rolname, granted.rolname, grantor.rolname),
                (SELECT to_jsonb(o)::text FROM (SELECT {MEMBERSHIPS if server.major >= 16 else MEMBERSHIPS_OF_15}) o)
            FROM pg_auth_members m JOIN pg_roles member ON member.oid = m.member JOIN pg_roles granted ON granted.oid = m.roleid
                JOIN pg_roles grantor ON grantor.oid = m.grantor WHERE m.member >= 16384 OR m.roleid >= 16384
            UNION ALL
            SELECT coalesce('settings of role ' || rolname, '{SETTINGS_OF_ALL}'), {_SORTED.format("setconfig")}
            FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = setrole WHERE setdatabase = 0
            UNION ALL
            SELECT 'tablespace ' || spcname, jsonb_pretty(jsonb_build_object('owner', pg_get_userbyid(spcowner),
                'options', {_SORTED.format("spcoptions")}, 'acl', {_ACL.format("spcacl", "t", "spcowner")},
                'comment', shobj_description(oid, 'pg_tablespace')))
            FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'
            UNION ALL
            SELECT 'privileges on parameter ' || parname, {_SORTED.format("paracl")} FROM pg_parameter_acl
        """,
        )
        if passwords:
            # Not of the bootstrap superuser: it is the lab's own.
            facts.update(
                _facts(
                    connection,
                    CLUSTER,
                    """
                SELECT 'password of ' || rolname, coalesce(md5(rolpassword), 'none') FROM pg_authid WHERE oid >= 16384
            """,
                )
            )
        return facts


# A database

_SORTED = "(SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE \"C\") FROM unnest({}) x)"
# Nothing and the explicit default mean the same, and a restore may turn one into the other.
_ACL = _SORTED.format("coalesce({}, acldefault('{}', {}))")


def _database(server: Server, db: str, tools: Installation) -> Facts:
    with closing(server.connect()) as connection:
        _prepare(connection)
        facts = _properties(connection, db)
    with closing(server.connect(db)) as connection:
        _prepare(connection)
        facts.update(_rows(connection, db))
        facts.update(_sequences(connection, db))
        facts.update(_large_objects(connection, db))
        facts.update(_policies(connection, db))
    facts.update(_schema(server, db, tools))
    return facts


def _properties(connection: Any, db: str) -> Facts:
    return _facts(
        connection,
        db,
        f"""
        SELECT 'properties', jsonb_pretty(jsonb_strip_nulls(jsonb_build_object(
            'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate,
            'ctype', datctype, 'provider', datlocprovider, 'locale', coalesce(to_jsonb(d) ->> 'datlocale',
            to_jsonb(d) ->> 'daticulocale'), 'rules', to_jsonb(d) ->> 'daticurules', 'connection limit', datconnlimit,
            'template', datistemplate, 'connections allowed', datallowconn, 'tablespace', spcname,
            'acl', {_ACL.format("datacl", "d", "datdba")}, 'comment', shobj_description(d.oid, 'pg_database'))))
        FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %(db)s
        UNION ALL
        SELECT 'settings of ' || coalesce('role ' || rolname, 'all roles'), {_SORTED.format("setconfig")}
        FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole
        WHERE datname = %(db)s
    """,
        db=db,
    )


# Whole partitioned tables, and each table that holds rows, unless a hash chose it: the hash of an enum differs
# from server to server, and rows that come back through the root lie in another partition rightly.
# Columns by name: one that was added to a parent stands elsewhere in its children after a restore.
_TABLES = """
    SELECT nspname, relname, relkind = 'p', relispopulated, (SELECT coalesce(array_agg(attname::text ORDER BY attname), '{}')
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
        AND NOT (relkind = 'p' AND relispartition)
        AND NOT EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a JOIN pg_partitioned_table p ON p.partrelid = a.relid
            WHERE relispartition AND partstrat = 'h')
"""
# A sum forgets the order but not repeated rows, and needs no memory.
_HASH = """
    SELECT format('%s rows, hash %s', count(*), sum(('x' || left(md5(ROW({columns})::text), 16))::bit(64)::bigint::numeric))
    FROM {only} {table} AS t
"""


def _rows(connection: Any, db: str) -> Facts:
    facts: Facts = {}
    for schema, name, partitioned, populated, columns in _fetch(connection, _TABLES):
        statement = pgsql.SQL(_HASH).format(
            columns=pgsql.SQL(", ").join(pgsql.Identifier("t", column) for column in columns),
            # A parent's own rows only: its children are counted as themselves.
            only=pgsql.SQL("" if partitioned else "ONLY"),
            table=pgsql.Identifier(schema, name),
        )
        value = _fetch(connection, statement)[0][0] if populated else "never populated"
        facts[db, f"rows of {schema}.{name}"] = str(value)
    return facts


def _sequences(connection: Any, db: str) -> Facts:
    names = _fetch(connection, "SELECT schemaname, sequencename FROM pg_sequences")
    facts: Facts = {}
    for schema, name in names:
        statement = pgsql.SQL("SELECT format('%s, called: %s', last_value, is_called) FROM {}")
        facts[db, f"sequence {schema}.{name}"] = str(
            _fetch(connection, statement.format(pgsql.Identifier(schema, name)))[0][0]
        )
    return facts


def _large_objects(connection: Any, db: str) -> Facts:
    return _facts(
        connection,
        db,
        f"""
        SELECT 'large object ' || oid, format('md5 %s, owner %s, privileges %s, comment %s', md5(lo_get(oid)),
            pg_get_userbyid(lomowner), {_ACL.format("lomacl", "L", "lomowner")}, obj_description(oid, 'pg_largeobject'))
        FROM pg_largeobject_metadata
    """,
    )


def _policies(connection: Any, db: str) -> Facts:
    # pg_dump lists a policy's roles by their oids, which a restore changes.
    return _facts(
        connection,
        db,
        f"""
        SELECT format('policy %s on %s.%s', policyname, schemaname, tablename),
            jsonb_pretty(to_jsonb(p) || jsonb_build_object('roles', {_SORTED.format("roles")}))
        FROM pg_policies p
    """,
    )


def _schema(server: Server, db: str, tools: Installation) -> Facts:
    # Defaults and checks are written in the session's time zone, too.
    options = " ".join("-c {}={}".format(name, value.replace(" ", "\\ ")) for name, value in SESSION.items())
    env = {"PGOPTIONS": options}
    raw = server.run(tools.program("pg_dump"), "--schema-only", "--encoding=UTF8", db=db, env=env)
    text = INCOMPARABLE.sub("", raw.decode(errors="surrogateescape"))
    facts: Facts = {}
    entries = list(ENTRY.finditer(text))
    ends = [entry.start() for entry in entries[1:]] + [len(text)]
    access_method = _access_method(text[: entries[0].start()]) if entries else ""
    for entry, end in zip(entries, ends):
        body = text[entry.start() : end]
        own_method = access_method if entry["type"] in ("TABLE", "MATERIALIZED VIEW") else ""
        access_method = _access_method(body) or access_method
        if entry["type"] == "POLICY":
            continue  # a fact of its own
        schema = "" if entry["schema"] == "-" else f"{entry['schema']}."
        what = f"schema: {entry['type']} {schema}{entry['name']}"
        # Several entries of one name: what looks like an entry inside a function's body, for one.
        facts[db, what] = facts.get((db, what), "") + STATE.sub("", body).strip("\n-") + f"\n{own_method}"
    return facts


def _access_method(text: str) -> str:
    """The default that is valid at the end of this text, empty when it does not say."""
    return next((found[1] for found in reversed(list(STATE.finditer(text))) if found[1]), "")


# Inside


def _prepare(connection: Any) -> None:
    with connection.cursor() as cursor:
        for name, value in SESSION.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def _fetch(connection: Any, statement: Any, **values: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        # Without values, psycopg2 leaves the statement's percent signs alone.
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def _facts(connection: Any, where: str, statement: str, **values: str) -> Facts:
    return {(where, str(what)): str(value) for what, value in _fetch(connection, statement, **values)}


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= 200 else f"{line[:200]}…"
