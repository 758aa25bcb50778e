# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role that backs up: what it needs, compared with what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# Source: https://www.postgresql.org/docs/current/predefined-roles.html
_MEMBER_OF = ("pg_read_all_data", "pg_read_all_settings")


def ensure(connection: Connection, name: str, password: Optional[str], check: bool) -> list[str]:
    """Make the role what it should be, unless ``check``. Returns the lines of the plan; none when all is well.

    Raises:
        ServerError: the server is too old, or we may not.
    """
    import psycopg2
    from psycopg2 import sql

    if int(value(connection, "SELECT current_setting('server_version_num')")) < 140000:
        raise ServerError(
            "backup_role needs PostgreSQL 14 or newer, which has the role pg_read_all_data. Use a superuser."
        )
    role = sql.Identifier(name)
    steps: list[tuple[str, Any]] = []
    found = rows(
        connection, "SELECT oid, rolcanlogin, rolbypassrls, rolconfig FROM pg_roles WHERE rolname = %s", [name]
    )
    if not found:
        login = sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS").format(role)
        secret = sql.SQL(" PASSWORD {}").format(sql.Literal(password)) if password else sql.SQL("")
        steps.append((f"create the role {name!r}", login + secret))
    elif not (found[0]["rolcanlogin"] and found[0]["rolbypassrls"]):
        steps.append(
            (f"let {name!r} log in and bypass row security", sql.SQL("ALTER ROLE {} LOGIN BYPASSRLS").format(role))
        )
    member = set()
    if found:
        member = {
            row["name"]
            for row in rows(
                connection,
                "SELECT r.rolname AS name FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = %s",
                [found[0]["oid"]],
            )
        }
    for group in _MEMBER_OF:
        if group not in member:
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), role)
            steps.append((f"grant {group} to {name!r}", grant))
    # pg_read_all_data does not reach large objects; this setting, which only a superuser may give, does.
    config = (found[0]["rolconfig"] or []) if found else []
    if "lo_compat_privileges=on" not in config:
        setting = sql.SQL("ALTER ROLE {} SET lo_compat_privileges = on").format(role)
        steps.append((f"let {name!r} read every large object", setting))
    for row in rows(
        connection,
        "SELECT datname AS name, CASE WHEN %s THEN has_database_privilege(%s, oid, 'CONNECT') ELSE false END AS may,"
        " has_database_privilege('public', oid, 'CONNECT') AS everybody"
        " FROM pg_database WHERE NOT datistemplate AND datallowconn ORDER BY 1",
        [bool(found), name if found else "public"],
    ):
        if not row["may"] and not row["everybody"]:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(row["name"]), role)
            steps.append((f"let {name!r} connect to the database {row['name']!r}", grant))
    for message, statement in steps if not check else ():
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        except psycopg2.Error as exc:
            raise ServerError(f"Cannot {message}: {str(exc).splitlines()[0]}. Connect as a superuser.") from None
    return [message for message, _statement in steps]
