# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a dump added to a database that is there, or put in the place of its own: in one transaction, so that a failure leaves
everything as it was.

What other objects say of a table that is replaced is as it was: membership in publications with columns and filter, the states of its
triggers where only data comes, default privileges, which give the new table nothing. What goes with the old table is named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import toc
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_WANTED = "SELECT unnest(%(schemas)s::text[]) AS schema, unnest(%(names)s::text[]) AS name"
_TABLES = f"""
WITH wanted AS ({_WANTED}), heads AS (
    SELECT c.oid FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p', 'f', 'm', 'v')
), tables AS (SELECT oid FROM heads UNION SELECT t.relid FROM heads, pg_partition_tree(heads.oid) t)
"""

_THERE = f"""{_TABLES}
SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind FROM heads JOIN pg_class c ON c.oid = heads.oid
JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2
"""

_PUBLISHED = f"""{_TABLES}
SELECT p.pubname AS publication, n.nspname AS schema, c.relname AS name,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum = ANY(pr.prattrs::int2[])) AS columns,
       pg_get_expr(pr.prqual, pr.prrelid) AS filter
FROM tables JOIN pg_publication_rel pr ON pr.prrelid = tables.oid JOIN pg_publication p ON p.oid = pr.prpubid
JOIN pg_class c ON c.oid = tables.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2, 3
"""

_SUBSCRIBED = f"""{_TABLES}
SELECT DISTINCT s.subname AS name FROM tables JOIN pg_subscription_rel r ON r.srrelid = tables.oid
JOIN pg_subscription s ON s.oid = r.srsubid ORDER BY 1
"""

# What stands on a table, with names: what is there before and not afterwards is lost.
_STANDING = f"""{_TABLES}
SELECT 'the index ' || c.relname || ' of ' || i.indrelid::regclass AS what
FROM tables JOIN pg_index i ON i.indrelid = tables.oid JOIN pg_class c ON c.oid = i.indexrelid
UNION ALL SELECT 'the trigger ' || tgname || ' of ' || tgrelid::regclass FROM tables JOIN pg_trigger ON tgrelid = tables.oid
WHERE NOT tgisinternal
UNION ALL SELECT 'the policy ' || polname || ' of ' || polrelid::regclass FROM tables JOIN pg_policy ON polrelid = tables.oid
UNION ALL SELECT 'the statistics ' || stxname || ' of ' || stxrelid::regclass FROM tables JOIN pg_statistic_ext ON stxrelid = tables.oid
UNION ALL SELECT 'the constraint ' || conname || ' of ' || conrelid::regclass FROM tables JOIN pg_constraint ON conrelid = tables.oid
WHERE contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL SELECT 'the grant of ' || privilege_type || ' on ' || c.oid::regclass || ' to '
    || coalesce(pg_get_userbyid(nullif(grantee, 0))::text, 'PUBLIC')
FROM tables JOIN pg_class c ON c.oid = tables.oid, aclexplode(c.relacl)
UNION ALL SELECT 'the partition ' || tables.oid::regclass FROM tables JOIN pg_class c ON c.oid = tables.oid WHERE c.relispartition
"""

# What has privileges that it did not get from the dump (its grants come later) has them from ALTER DEFAULT PRIVILEGES.
_NO_DEFAULTS = r"""
DO $holdfast$
DECLARE object record; privilege record;
BEGIN
  FOR object IN
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass AS name, relowner AS owner, relacl AS acl,
           acldefault(CASE relkind WHEN 'S' THEN 'S' ELSE 'r' END::"char", relowner) AS normal
    FROM pg_catalog.pg_class WHERE xmin = pg_catalog.pg_current_xact_id()::xid AND relacl IS NOT NULL AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT 'ROUTINE ' || oid::regprocedure, proowner, proacl, acldefault('f', proowner)
    FROM pg_catalog.pg_proc WHERE xmin = pg_catalog.pg_current_xact_id()::xid AND proacl IS NOT NULL
    UNION ALL SELECT 'TYPE ' || oid::regtype, typowner, typacl, acldefault('T', typowner)
    FROM pg_catalog.pg_type WHERE xmin = pg_catalog.pg_current_xact_id()::xid AND typacl IS NOT NULL AND typtype <> 'c' AND typelem = 0
    UNION ALL SELECT pg_catalog.format('SCHEMA %I', nspname), nspowner, nspacl, acldefault('n', nspowner)
    FROM pg_catalog.pg_namespace WHERE xmin = pg_catalog.pg_current_xact_id()::xid AND nspacl IS NOT NULL
  LOOP
    FOR privilege IN
      SELECT DISTINCT grantee FROM aclexplode(object.acl) WHERE grantee <> object.owner
      AND (grantee, privilege_type) NOT IN (SELECT grantee, privilege_type FROM aclexplode(object.normal))
    LOOP
      EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', object.name, CASE privilege.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_catalog.quote_ident(pg_get_userbyid(privilege.grantee)) END);
    END LOOP;
    FOR privilege IN SELECT grantee, privilege_type FROM aclexplode(object.normal)
      EXCEPT SELECT grantee, privilege_type FROM aclexplode(object.acl)
    LOOP
      EXECUTE pg_catalog.format('GRANT %s ON %s TO %s', privilege.privilege_type, object.name, CASE privilege.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_catalog.quote_ident(pg_get_userbyid(privilege.grantee)) END);
    END LOOP;
  END LOOP;
END
$holdfast$;
"""

_KEEP_TRIGGERS = """
CREATE TEMPORARY TABLE holdfast_triggers ON COMMIT DROP AS SELECT oid AS trigger, tgenabled AS state FROM pg_catalog.pg_trigger;
"""
_TRIGGERS_AS_BEFORE = """
DO $holdfast$
DECLARE found record;
BEGIN
  FOR found IN SELECT t.tgrelid::regclass AS relation, t.tgname, k.state FROM pg_temp.holdfast_triggers k
    JOIN pg_catalog.pg_trigger t ON t.oid = k.trigger WHERE t.tgenabled <> k.state
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE ONLY %s %s TRIGGER %I', found.relation, CASE found.state WHEN 'D' THEN 'DISABLE'
      WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END, found.tgname);
  END LOOP;
END
$holdfast$;
"""


@dataclass
class Addition:
    """What is put into a database that is there. ``selection`` None: all that the options choose; ``replaced``: relations that are
    dropped first."""

    selection: Optional[toc.Selection]
    replaced: list[tuple[str, str, str]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    #: schemas that are made, as the dump does not
    schemas: list[str] = field(default_factory=list)

    def plan(self, database: str) -> list[str]:
        """In words, what the plan says besides."""
        steps = []
        if self.replaced:
            steps.append(
                f"{database!r}: replace {', '.join(f'{schema}.{name}' for schema, name, _kind in self.replaced)}"
            )
        if self.published:
            names = sorted({row["publication"] for row in self.published})
            steps.append(f"{database!r}: put what is replaced back into the publications {', '.join(map(repr, names))}")
        return steps

    def judge(self, agreed: bool, consent: Consent) -> None:
        """Raise BadOption where a subscription would no longer receive, and nobody agreed (the option break_replication)."""
        if self.subscriptions and not agreed:
            refusal = BadOption(
                "break_replication", False, f"protects the subscription {', '.join(map(repr, self.subscriptions))}, which receives into a "
                "table that would be replaced",
                "It would receive nothing into the new one, until ALTER SUBSCRIPTION … REFRESH PUBLICATION. If that is right set "
                "break_replication: true (holdfast_restore_break_replication).",
            )  # fmt: skip
            consent.need(refusal, break_replication=True)

    def lost(self, connection: Connection) -> list[str]:
        """What stood on the replaced tables and does not any more."""
        if not self.replaced:
            return []
        after = {row["what"] for row in rows(connection, _STANDING, _named(self.replaced))}
        plan = [
            f"{what[0].upper()}{what[1:]} is not in the backup, and is gone."
            for what in self.standing
            if what not in after
        ]
        plan += [
            f"The subscription {name!r} receives nothing into what was replaced, until ALTER SUBSCRIPTION … REFRESH PUBLICATION."
            for name in self.subscriptions
        ]
        return plan


def _named(relations: Sequence[tuple[str, ...]]) -> dict[str, list[str]]:
    return {"schemas": [relation[0] for relation in relations], "names": [relation[1] for relation in relations]}


def look(connection: Connection, selection: Optional[toc.Selection], replace: bool) -> Addition:
    """What the addition meets in the database. Reads only."""
    addition = Addition(selection)
    if selection is None or not replace:
        return addition
    names = _named(selection.relations)
    addition.replaced = [(row["schema"], row["name"], row["kind"]) for row in rows(connection, _THERE, names)]
    addition.standing = [row["what"] for row in rows(connection, _STANDING, names)]
    published = _PUBLISHED
    if connection.server_version < 150000:
        published = published.replace("pr.prattrs::int2[]", "NULL::int2[]").replace(
            "pg_get_expr(pr.prqual, pr.prrelid)", "NULL"
        )
    addition.published = rows(connection, published, names)
    addition.subscriptions = [row["name"] for row in rows(connection, _SUBSCRIBED, names)]
    return addition


def before(addition: Addition, keep_triggers: bool) -> str:
    """SQL that runs first, in the same transaction."""
    text = "SET client_encoding = 'UTF8';\n" + (_KEEP_TRIGGERS if keep_triggers else "")
    kinds = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}
    by_kind: dict[str, list[str]] = {}
    for schema, name, kind in addition.replaced:
        by_kind.setdefault(kinds.get(kind, "TABLE"), []).append(f"{quoted(schema)}.{quoted(name)}")
    for kind in ("VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "TABLE"):
        if kind in by_kind:
            text += f"DROP {kind} {', '.join(by_kind[kind])};\n"
    return text + "".join(f"CREATE SCHEMA {quoted(name)};\n" for name in addition.schemas)


def between() -> str:
    """SQL that runs before the dump's grants."""
    return "SET client_encoding = 'UTF8';\n" + _NO_DEFAULTS


def behind(
    addition: Addition, keep_triggers: bool, foreign_keys: bool, expected: Sequence[tuple[str, str, int]]
) -> str:
    """SQL that runs last: what leads to and from other objects, and the numbers of rows (schema, name, rows) compared, as nobody else
    sees them yet."""
    text = "SET client_encoding = 'UTF8';\n"
    for statement in addition.selection.foreign_keys if addition.selection and foreign_keys else ():
        text += _lenient(statement)
    for row in addition.published:
        columns = f" ({', '.join(map(quoted, row['columns']))})" if row["columns"] else ""
        where = f" WHERE ({row['filter']})" if row["filter"] else ""
        table = f"{quoted(row['schema'])}.{quoted(row['name'])}"
        text += f"ALTER PUBLICATION {quoted(row['publication'])} ADD TABLE ONLY {table}{columns}{where};\n"
    if keep_triggers:
        text += _TRIGGERS_AS_BEFORE
    if expected:
        heads = addition.selection.partitioned if addition.selection else set()
        text += "DO $holdfast$\nDECLARE n bigint;\nBEGIN\n"
        for schema, name, count in expected:
            only = "" if (schema, name) in heads else "ONLY "
            shown = f"{schema}.{name}".replace("'", "''").replace("%", "%%")
            message = f"{shown} has % rows instead of {count}"
            text += f"  SELECT pg_catalog.count(*) INTO n FROM {only}{quoted(schema)}.{quoted(name)};\n"
            text += f"  IF n <> {count} THEN RAISE EXCEPTION '{message}', n; END IF;\n"
        text += "END\n$holdfast$;\n"
    return text


def _lenient(statement: str) -> str:
    """A foreign key; where rows of today contradict it, it holds for new rows only, and is reported as not valid."""
    create = next((part for part in statement.split(";\n") if "FOREIGN KEY" in part), statement).strip().rstrip(";")
    return f"DO $holdfast$\nBEGIN\n  {create};\nEXCEPTION WHEN foreign_key_violation THEN\n  {create} NOT VALID;\nEND\n$holdfast$;\n"


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def write(directory: str, name: str, text: str) -> str:
    """A script in ``directory``; its path."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    return path


_REGISTERS = {
    "TYPE": "to_regtype", "DOMAIN": "to_regtype", "SHELL TYPE": "to_regtype", "TABLE": "to_regclass", "FOREIGN TABLE": "to_regclass",
    "VIEW": "to_regclass", "MATERIALIZED VIEW": "to_regclass", "SEQUENCE": "to_regclass", "INDEX": "to_regclass",
    "FUNCTION": "to_regprocedure", "PROCEDURE": "to_regprocedure", "AGGREGATE": "to_regprocedure",
}  # fmt: skip
_CATALOGS = {
    "SCHEMA": ("pg_namespace", "nspname"), "EXTENSION": ("pg_extension", "extname"), "PUBLICATION": ("pg_publication", "pubname"),
    "SERVER": ("pg_foreign_server", "srvname"), "FOREIGN DATA WRAPPER": ("pg_foreign_data_wrapper", "fdwname"),
}  # fmt: skip


def is_there(connection: Connection, entry: toc.Entry) -> bool:
    """Whether an entry's object is in the database. What cannot be told is taken for there: making it would fail loudly anyway."""
    if entry.type in _CATALOGS:
        catalog, column = _CATALOGS[entry.type]
        return bool(value(connection, f"SELECT EXISTS (SELECT FROM {catalog} WHERE {column} = %s)", [entry.name]))
    if entry.type in _REGISTERS:
        name, bracket, arguments = entry.name, "", ""
        if _REGISTERS[entry.type] == "to_regprocedure":
            name, bracket, arguments = entry.name.partition("(")
        full = f"{quoted(entry.schema)}.{quoted(name)}{bracket}{arguments}"
        return value(connection, f"SELECT {_REGISTERS[entry.type]}(%s) IS NOT NULL", [full]) is True
    return True
