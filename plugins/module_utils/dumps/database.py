# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of the server that is restored into: what is there, making, naming and dropping them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import count_rows, rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# Settings whose stored value is a list of names that are quoted already (GUC_LIST_QUOTE in PostgreSQL's guc_tables.c).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}

# A database being made carries this setting, and its maker holds this advisory lock on its oid: with the one and without the
# other it is what a restore that was killed left.
_MARK = "holdfast.restoring"
_LOCK = 0x686F6C64
_LEFT = """
SELECT d.datname FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
WHERE d.datname ~ '_restoring_[0-9a-f]{6}$' AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c LIKE %s || '=%%')
AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = d.oid)
ORDER BY 1
"""

_OBJECTS = """
SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
     + (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
     + (SELECT count(*) FROM pg_largeobject_metadata)
"""


class TargetServer:
    """The server that is restored into."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = address.connect()

    def leave(self, names: list[str]) -> None:
        """Get out of a database that is to be renamed: its maintenance goes on from template1."""
        if self.address.db in names:
            self.connection.close()
            self.connection = self.address.connect("template1")

    def execute(self, text: str, *names: str) -> None:
        """Run a statement whose ``{}`` are identifiers. Raises ServerError."""
        import psycopg2
        from psycopg2 import sql

        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql.SQL(text).format(*(sql.Identifier(name) for name in names)))
        except psycopg2.Error as exc:
            raise ServerError(f"{text.format(*names)!r} failed: {' '.join(str(exc).split())}") from exc

    def oid(self, name: str) -> Optional[int]:
        """A database's oid; None when there is none of that name."""
        found: Optional[int] = value(self.connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", [name])
        return found

    def leftovers(self) -> list[str]:
        """Databases that a restore which was killed was making."""
        return [row["datname"] for row in rows(self.connection, _LEFT, [_MARK, _LOCK])]

    def is_empty(self, name: str) -> bool:
        """Whether a database holds no objects of users."""
        connection = self.address.connect(name)
        try:
            return not value(connection, _OBJECTS)
        finally:
            connection.close()

    def tables(self, name: str) -> list[dict[str, Any]]:
        """Each table's number of rows."""
        connection = self.address.connect(name)
        try:
            return count_rows(connection)
        finally:
            connection.close()

    def sessions(self, name: str) -> list[str]:
        """Who is connected to a database, in words. Those who are just leaving (we, often) get two seconds."""
        for _moment in range(20):
            found = self._sessions(name)
            if not found:
                break
            time.sleep(0.1)
        return found

    def _sessions(self, name: str) -> list[str]:
        found = rows(
            self.connection,
            "SELECT pid, usename, application_name, coalesce(client_addr::text, 'local') AS address, state"
            " FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            " AND backend_type IN ('client backend', 'walsender')",
            [name],
        )
        return [
            f"{row['usename']} from {row['address']} ({row['application_name'] or 'no name'}, {row['state']}, "
            f"process {row['pid']})"
            for row in found
        ]

    def end_sessions(self, name: str) -> None:
        """Keep new ones out and end those that are there."""
        self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
        rows(
            self.connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )

    def create(self, name: str, properties: Optional[dict[str, Any]], clause: Optional[str], owner: bool) -> None:
        """Make an empty database like the one that was backed up (``properties``), or by the ``WITH …`` clause of a
        dump's CREATE DATABASE."""
        from psycopg2 import sql

        statement = sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name))
        if properties is None:
            statement += sql.SQL(clause or "WITH TEMPLATE = template0")
        else:
            words = {"ENCODING": properties["encoding"]}
            words["LC_COLLATE"], words["LC_CTYPE"] = properties["collate"], properties["ctype"]
            provider, locale = properties.get("locale_provider"), properties.get("locale")
            if provider == "i":
                words["LOCALE_PROVIDER"], words["ICU_LOCALE"] = "icu", locale
                if properties.get("icu_rules"):
                    words["ICU_RULES"] = properties["icu_rules"]
            if provider == "b":
                words["LOCALE_PROVIDER"], words["BUILTIN_LOCALE"] = "builtin", locale
            statement += sql.SQL("WITH TEMPLATE = template0")
            for word, text in words.items():
                statement += sql.SQL(f" {word} = ") + sql.Literal(text)
            if properties["tablespace"] != "pg_default":
                statement += sql.SQL(" TABLESPACE = ") + sql.Identifier(properties["tablespace"])
            if owner:
                statement += sql.SQL(" OWNER = ") + sql.Identifier(properties["owner"])
        self._run(statement, f"create the database {name!r}")
        rows(self.connection, "SELECT pg_advisory_lock(%s, %s::bit(32)::int)::text", [_LOCK, self.oid(name)])
        self.execute(f"ALTER DATABASE {{}} SET {_MARK} = 'yes'", name)

    def dress(self, name: str, properties: dict[str, Any], privileges: bool) -> None:
        """Settings, comment and privileges of a database, as they were."""
        from psycopg2 import sql

        database = sql.Identifier(name)
        for entry in properties.get("settings") or ():
            who = sql.SQL("ALTER DATABASE {}").format(database)
            if entry["role"]:
                who = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(entry["role"]), database)
            self._set(who, entry["settings"])
        if properties.get("comment"):
            self._run(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(properties["comment"])),
                f"comment on {name!r}",
            )
        if privileges and properties.get("acl") is not None:
            self._grant(database, properties)

    def set_for_all(self, settings: list[str]) -> None:
        """Settings of all roles in all databases, which pg_dumpall leaves out."""
        from psycopg2 import sql

        self._set(sql.SQL("ALTER ROLE ALL"), settings)

    def _set(self, who: Any, settings: list[str]) -> None:
        from psycopg2 import sql

        for setting in settings:
            key, _equals, text = setting.partition("=")
            values = sql.SQL(", ").join(map(sql.Literal, _split_names(text) if key in _LISTS else [text]))
            name = sql.SQL(".").join(sql.Identifier(part) for part in key.split("."))
            self._run(who + sql.SQL(" SET ") + name + sql.SQL(" TO ") + values, f"set {key}")

    def finish(self, name: str, properties: dict[str, Any]) -> None:
        """What would stand in the way earlier: the connection limit, and being a template."""
        from psycopg2 import sql

        limit = int(properties["connection_limit"])
        if limit != -1:
            self._run(
                sql.SQL("ALTER DATABASE {} WITH CONNECTION LIMIT {}").format(sql.Identifier(name), sql.Literal(limit)),
                f"limit connections to {name!r}",
            )
        if properties.get("is_template"):
            self.execute("ALTER DATABASE {} WITH IS_TEMPLATE true", name)

    def _grant(self, database: Any, properties: dict[str, Any]) -> None:
        from psycopg2 import sql

        owner = sql.Identifier(properties["owner"])
        self._run(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, owner), "revoke privileges")
        granted = rows(
            self.connection,
            "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee)::text END AS role, privilege_type AS privilege,"
            " is_grantable AS grantable FROM aclexplode(%s::aclitem[])",
            [properties["acl"]],
        )
        for grant in granted:
            role = sql.Identifier(grant["role"]) if grant["role"] else sql.SQL("PUBLIC")
            option = sql.SQL(" WITH GRANT OPTION") if grant["grantable"] else sql.SQL("")
            privilege = sql.SQL(grant["privilege"])
            self._run(
                sql.SQL("GRANT {} ON DATABASE {} TO {}").format(privilege, database, role) + option, "grant privileges"
            )

    def _run(self, statement: Any, doing: str) -> None:
        import psycopg2

        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)
        except psycopg2.Error as exc:
            raise ServerError(f"Cannot {doing}: {' '.join(str(exc).split())}") from exc

    def drop(self, name: str) -> None:
        """Drop a database of ours, templates and sessions notwithstanding."""
        if self.oid(name) is not None:
            self.execute("ALTER DATABASE {} WITH IS_TEMPLATE false", name)
            self.end_sessions(name)
            self.execute("DROP DATABASE {}", name)

    def swap(self, new: str, name: str, old: str, terminate: bool) -> None:
        """In one transaction ``name`` becomes ``old``, and ``new`` becomes ``name``.

        Raises:
            ServerError: somebody is connected; then nothing has changed.
        """
        import psycopg2
        from psycopg2 import sql

        present = self.oid(name) is not None
        if self.sessions(new):  # our own have been closed, and nobody else knows the name: what is left, a pooler keeps
            self.end_sessions(new)
            self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", new)
        if not terminate:
            self.sessions(name)
        if present and terminate:
            self.end_sessions(name)
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(sql.SQL(f"ALTER DATABASE {{}} RESET {_MARK}").format(sql.Identifier(new)))
                pairs = [(name, old)] if present else []
                for before, after in [*pairs, (new, name)]:
                    cursor.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after))
                    )
                cursor.execute("COMMIT")
        except psycopg2.Error as exc:
            with self.connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
            if present:
                self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
            raise ServerError(
                f"The restored database could not take the name {name!r}: {' '.join(str(exc).split())}. {name!r} is as it "
                f"was. {sessions_hint(self.sessions(name))}"
            ) from exc


def _split_names(text: str) -> list[str]:
    """The names in a stored list, such as ``"$user", public``; one empty name for an empty list."""
    found = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', text)
    return [quoted.replace('""', '"') or bare for quoted, bare in found] or [""]


def sessions_hint(sessions: list[str]) -> str:
    """Who stands in the way, and the way out."""
    if not sessions:
        return ""
    return f"Connected are: {'; '.join(sessions[:10])}. Let them end, or set terminate_sessions: true."


def check_disk(address: Address, connection: Connection, needed: int) -> None:
    """Refuse what cannot fit, where the server's data directory can be seen from here. Raises ServerError."""
    import psycopg2

    try:
        directory = value(connection, "SELECT current_setting('data_directory')")
    except psycopg2.Error:
        return
    local = not address.host or address.host.startswith("/") or address.host in ("127.0.0.1", "::1", "localhost")
    if not local or not directory or not os.path.isdir(directory):
        return
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise ServerError(
            f"The databases took {needed} bytes when they were backed up, and the disk of {directory} has {free} left. "
            "Free some space first; nothing was touched."
        )


def side_names(name: str) -> tuple[str, str]:
    """Names for the new database while it is made, and for the old one when it steps aside (63 bytes at most)."""
    mark = secrets.token_hex(3)
    short = name if len(name.encode()) <= 40 else hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{short}_restoring_{mark}", f"{short}_before_{mark}"


def need_confirm(names: list[str], force: bool, confirm: tuple[str, ...]) -> None:
    """Refuse to replace what is not empty, unless told to. Raises BadOption."""
    if names and not force:
        raise BadOption(
            "force", False, f"protects the database {', '.join(map(repr, names))}, which is not empty",
            f"To replace it set force: true and confirm: {names}, or restore under another name by target_db.",
        )  # fmt: skip
    missing = [name for name in names if name not in confirm]
    if missing:
        raise BadOption(
            "confirm", list(confirm), f"does not name {', '.join(map(repr, missing))}, which would be replaced",
            f"If that is right, set confirm: {names}.",
        )  # fmt: skip
