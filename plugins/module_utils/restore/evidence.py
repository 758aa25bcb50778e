# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database is still as a restore left it: proven by the versions of all its rows and definitions.

Numbers of rows prove nothing, as an UPDATE keeps them; statistics are lost in a crash, and a session can leave them out. Each row
carries the transaction that wrote it (``xmin``), and no later transaction has the number of an earlier one: so whatever was
inserted, updated, deleted, altered or dropped since changes the sum that is taken here. Where a row cannot be seen, nothing is proven.
Source: https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_VERSIONS = "count(*) AS rows, coalesce(sum(hashtextextended(xmin::text, 0)), 0)::text AS versions"

# What ANALYZE writes is no change of a database.
_CATALOGS = """
SELECT relname AS name, has_table_privilege(oid, 'SELECT') AS readable FROM pg_class
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') ORDER BY 1
"""

# What VACUUM FULL, CLUSTER, REINDEX and REFRESH write anew says the same as before; other sessions' temporary schemas come and go.
_TOAST = "(SELECT oid FROM pg_class WHERE relnamespace = 'pg_toast'::regnamespace)"
_FILTERS = {
    "pg_namespace": "nspname !~ '^pg_(toast_)?temp_'",
    "pg_attribute": f"attrelid NOT IN {_TOAST}",
    "pg_index": f"indrelid NOT IN {_TOAST}",
    "pg_depend": f"objid NOT IN {_TOAST} AND refobjid NOT IN {_TOAST}",
}
_CLASSES = """
SELECT count(*) AS rows, coalesce(sum(hashtextextended((to_jsonb(c) - ARRAY['relfilenode', 'relpages', 'reltuples', 'relallvisible',
    'relallfrozen', 'relfrozenxid', 'relminmxid', 'reltoastrelid'])::text, 0)), 0)::text AS versions
FROM pg_class c WHERE relnamespace <> 'pg_toast'::regnamespace
"""

_TABLES = """
SELECT n.nspname AS schema, c.relname AS "table", has_table_privilege(c.oid, 'SELECT') AS readable,
       rn.nspname AS root_schema, r.relname AS root_table,
       c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) AS secured,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS extension
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""

# pg_sequences has no value for one that was never called, whatever it is set to.
_SEQUENCES = """
SELECT n.nspname AS schema, c.relname AS name, has_sequence_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND c.relpersistence <> 't' ORDER BY 1, 2
"""
_AT_ONCE = 200  # sequences that one statement reads

# Of catalogs that all databases share: what is this one's. Those who are no superusers may not see where a subscription connects to.
_OPEN = "oid, subname, subowner, subenabled, subslotname, subsynccommit, subpublications"
_SUBSCRIPTIONS = """
SELECT {columns} FROM pg_subscription s WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""
_LABELS = """
SELECT provider, label FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass
AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2
"""

# pg_user_mapping itself is for superusers.
_MAPPINGS = "SELECT srvname, usename, umoptions FROM pg_user_mappings ORDER BY 1, 2"


@dataclass(frozen=True)
class Measure:
    """A database's rows: ``tables`` as ``server.facts.count_rows`` has them, ``versions`` a digest of all rows' versions. None: not
    all rows can be seen, and nothing can be proven later."""

    tables: list[dict[str, Any]]
    versions: Optional[str]


def measure(connection: Connection) -> Measure:
    """Read every row of a database once."""
    from psycopg2 import sql

    counts: dict[tuple[str, str], Optional[int]] = {}
    digest, complete = hashlib.sha256(), True
    sees_all = value(connection, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    for table in rows(connection, _TABLES):
        root = (table["root_schema"], table["root_table"])
        counted = not table["extension"]
        if not table["readable"] or (table["secured"] and not sees_all):
            complete = False
            if counted:
                counts[root] = None
            continue
        found = rows(
            connection,
            sql.SQL(f"SELECT {_VERSIONS} FROM ONLY {{}}").format(sql.Identifier(table["schema"], table["table"])),
        )[0]
        digest.update(json.dumps([table["schema"], table["table"], found["rows"], found["versions"]]).encode())
        if counted:
            before = counts.setdefault(root, 0)
            counts[root] = None if before is None else before + found["rows"]
    tables = [{"schema": schema, "table": table, "rows": count} for (schema, table), count in sorted(counts.items())]
    return Measure(tables, digest.hexdigest() if complete else None)


def definitions(connection: Connection) -> Optional[str]:
    """A digest of all definitions, sequences and large objects; None where the role may not see them."""
    from psycopg2 import sql

    digest = hashlib.sha256()
    for catalog in rows(connection, _CATALOGS):
        name = catalog["name"]
        if not catalog["readable"]:
            if name == "pg_largeobject" and value(connection, "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"):
                return None
            continue
        statement: Any = _CLASSES
        if name != "pg_class":
            statement = sql.SQL(f"SELECT {_VERSIONS} FROM pg_catalog.{{}}").format(sql.Identifier(name))
            statement += sql.SQL(f" WHERE {_FILTERS[name]}" if name in _FILTERS else "")
        digest.update(json.dumps([name, *rows(connection, statement)[0].values()]).encode())
    whole = value(connection, "SELECT has_table_privilege('pg_subscription', 'SELECT')")
    subscriptions = _SUBSCRIPTIONS.format(columns="to_jsonb(s)::text" if whole else _OPEN)
    for query in (_MAPPINGS, subscriptions, _LABELS):
        digest.update(json.dumps(rows(connection, query), default=str).encode())
    sequences = rows(connection, _SEQUENCES)
    if not all(sequence["readable"] for sequence in sequences):
        return None
    for first in range(0, len(sequences), _AT_ONCE):
        reads = [
            sql.SQL("SELECT {}, last_value, is_called FROM {}").format(
                sql.Literal(number), sql.Identifier(sequence["schema"], sequence["name"])
            )
            for number, sequence in enumerate(sequences[first : first + _AT_ONCE], first)
        ]
        names = [(sequence["schema"], sequence["name"]) for sequence in sequences]
        digest.update(
            json.dumps([names, rows(connection, sql.SQL(" UNION ALL ").join(reads) + sql.SQL(" ORDER BY 1"))]).encode()
        )
    return digest.hexdigest()
