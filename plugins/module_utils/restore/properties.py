# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database is apart from its contents: encoding, locale, owner, settings, privileges, limits. Chosen, made and compared.

``properties`` are a row of ``server.facts.databases``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows

# What only CREATE DATABASE can set.
_BORN_WITH = ("encoding", "collate", "ctype", "locale_provider", "locale", "icu_rules")

# Settings whose stored value is a list of names that are quoted already (GUC_LIST_QUOTE in PostgreSQL's guc_tables.c).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}


@dataclass(frozen=True)
class Design:
    """How a database is to be. ``clause`` is the ``WITH …`` of a foreign dump's CREATE DATABASE, which decides encoding and locale
    where no properties do. ``owned``: the owner of the properties is set."""

    properties: Optional[dict[str, Any]]
    clause: Optional[str]
    template: str
    owned: bool
    #: where it differs from what was backed up, in words
    notes: tuple[str, ...] = ()


def design(
    recorded: Optional[dict[str, Any]],
    clause: Optional[str],
    there: Optional[dict[str, Any]],
    empty: bool,
    options: RestoreOptions,
) -> Design:
    """Decide what a database is to be. Pure.

    What was ``recorded`` with the backup; else as the one that is ``there`` (a foreign dump knows nothing of owner, privileges,
    settings and limits); an ``empty`` one that somebody prepared lends its encoding and locale; options take precedence.
    """
    chosen = dict(recorded or there or {})
    notes: list[str] = []
    if there and empty:
        lent = {key: there[key] for key in (*_BORN_WITH, "tablespace")}
        differs = [
            f"{key} {lent[key]} instead of {chosen[key]}" for key in lent if recorded and lent[key] != chosen.get(key)
        ]
        if differs:
            notes.append(f"with properties of the empty database that is there: {', '.join(differs)}")
        chosen.update(lent)
        clause = None
        if options.no_owner:
            chosen["owner"] = there["owner"]
    elif clause and there and not recorded:
        chosen.update(dict.fromkeys(_BORN_WITH))  # the dump knows these
    if options.encoding or options.locale:
        born: dict[str, Any] = {}
        if options.locale:
            born = {**dict.fromkeys(_BORN_WITH), "collate": options.locale, "ctype": options.locale}
            born["encoding"], born["locale_provider"] = chosen.get("encoding"), "c"
        if options.encoding:
            born["encoding"] = options.encoding
        chosen.update(born)
        clause = None
        notes.append(
            "with "
            + " and ".join(
                filter(
                    None,
                    (
                        options.locale and f"locale {options.locale}",
                        options.encoding and f"encoding {options.encoding}",
                    ),
                )
            )
        )
    owned = bool(chosen.get("owner")) and (not options.no_owner or (there is not None and empty))
    return Design(chosen or None, clause, options.template, owned, tuple(notes))


def changes_of(there: dict[str, Any], design: Design) -> list[str]:
    """What a database that is there was set to since, and will be no longer, in words. Pure."""
    if design.properties is None:
        return []
    names = {
        "owner": "its owner", "connection_limit": "its connection limit", "acl": "grants on it", "comment": "its comment",
        "is_template": "being a template", "tablespace": "its tablespace",
    }  # fmt: skip
    plan = []
    for key, name in names.items():
        before, after = there.get(key), design.properties.get(key)
        if before != after and (key != "owner" or design.owned):
            plan.append(f"{name} goes back to {after!r} (now {before!r})")
    settings = {(entry["role"], setting) for entry in there.get("settings") or () for setting in entry["settings"]}
    then = {
        (entry["role"], setting) for entry in design.properties.get("settings") or () for setting in entry["settings"]
    }
    for role, setting in sorted(settings - then, key=str):
        plan.append(f"the setting {setting}{f' of {role} in it' if role else ''} is not in the backup, and goes")
    return plan


def check_locale(server: TargetServer, design: Design) -> None:
    """Refuse a locale that the server's host lacks, before anything is made. Raises ServerError."""
    import psycopg2
    from psycopg2 import sql

    found = _of_clause(design.clause) if design.clause else design.properties or {}
    if (found.get("locale_provider") or "c") != "c" or not found.get("collate"):
        return
    # In a transaction that is given up; made in the session's temporary schema, so it needs no privilege but TEMPORARY.
    statement = sql.SQL("CREATE COLLATION pg_temp.holdfast (lc_collate = {}, lc_ctype = {})").format(
        sql.Literal(found["collate"]), sql.Literal(found["ctype"])
    )
    with server.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(statement)
        except psycopg2.Error as exc:
            if "locale" not in str(exc):
                return  # it says nothing of the locale: CREATE DATABASE will say what is wrong
            raise ServerError(
                f"The server's host has no locale {found['collate']!r} (or {found['ctype']!r}), which the database was made with. "
                "Install it there (localedef, or the package of the language), or choose another one by locale: "
                "(holdfast_restore_locale), such as C.UTF-8; text will then sort by that one. An empty database of that name, made by "
                "hand, lends its own. Nothing was touched."
            ) from exc
        finally:
            cursor.execute("ROLLBACK")


def _of_clause(clause: str) -> dict[str, Any]:
    """The locale of a dump's CREATE DATABASE … WITH …."""
    found = re.findall(r"\b(LOCALE_PROVIDER|LOCALE|LC_COLLATE|LC_CTYPE) = (?:'((?:[^']|'')*)'|(\S+))", clause)
    locale = {word: quoted.replace("''", "'") or bare for word, quoted, bare in found}
    collate, ctype = (locale.get(word) or locale.get("LOCALE") for word in ("LC_COLLATE", "LC_CTYPE"))
    return {
        "collate": collate,
        "ctype": ctype,
        "locale_provider": {"icu": "i", "builtin": "b"}.get(locale.get("LOCALE_PROVIDER", "")),
    }


def create(server: TargetServer, name: str, design: Design) -> None:
    """Make an empty database. Raises ServerError."""
    from psycopg2 import sql

    found = design.properties or {}
    statement = sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name))
    if design.clause:
        statement += sql.SQL(design.clause)
    else:
        statement += sql.SQL("WITH TEMPLATE = {}").format(sql.Identifier(design.template))
        for word, text in _born_with(found).items():
            statement += sql.SQL(f" {word} = ") + sql.Literal(text)
    if found.get("tablespace") and found["tablespace"] != "pg_default" and "TABLESPACE" not in (design.clause or ""):
        statement += sql.SQL(" TABLESPACE = ") + sql.Identifier(found["tablespace"])
    if design.owned:
        statement += sql.SQL(" OWNER = ") + sql.Identifier(found["owner"])
    server.run(statement, f"create the database {name!r}")


def _born_with(found: dict[str, Any]) -> dict[str, str]:
    clauses: dict[str, str] = {}
    for word, key in (("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        if found.get(key):
            clauses[word] = found[key]
    if found.get("locale_provider") == "i":
        clauses["LOCALE_PROVIDER"], clauses["ICU_LOCALE"] = "icu", found["locale"]
        if found.get("icu_rules"):
            clauses["ICU_RULES"] = found["icu_rules"]
    if found.get("locale_provider") == "b":
        clauses["LOCALE_PROVIDER"], clauses["BUILTIN_LOCALE"] = "builtin", found["locale"]
    return clauses


def dress(server: TargetServer, name: str, design: Design, privileges: bool) -> None:
    """Settings and privileges of a database, as they were."""
    from psycopg2 import sql

    found, database = design.properties or {}, sql.Identifier(name)
    for entry in found.get("settings") or ():
        who = sql.SQL("ALTER DATABASE {}").format(database)
        if entry["role"]:
            who = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(entry["role"]), database)
        set_all(server, who, entry["settings"])
    if privileges and found.get("acl") is not None and design.owned:
        _grant(server, database, found)


def finish(server: TargetServer, name: str, design: Design) -> None:
    """What would stand in the way earlier: the connection limit, and being a template."""
    from psycopg2 import sql

    found = design.properties or {}
    limit = found.get("connection_limit", -1)
    if limit >= 0:
        statement = sql.SQL("ALTER DATABASE {} WITH CONNECTION LIMIT {}")
        server.run(statement.format(sql.Identifier(name), sql.Literal(limit)), f"limit connections to {name!r}")
    if found.get("is_template"):
        server.execute("ALTER DATABASE {} WITH IS_TEMPLATE true", name)


def close(server: TargetServer, name: str, design: Design) -> None:
    """Let nobody in, if it was so: the very last step."""
    if (design.properties or {}).get("allow_connections") is False:
        server.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)


def set_for_all(server: TargetServer, settings: list[str]) -> None:
    """Settings of all roles in all databases, which pg_dumpall leaves out."""
    from psycopg2 import sql

    set_all(server, sql.SQL("ALTER ROLE ALL"), settings)


def set_all(server: TargetServer, who: Any, settings: list[str]) -> None:
    """Settings (``name=value``, as PostgreSQL stores them) of ``who``, an ALTER … statement without its SET."""
    from psycopg2 import sql

    for setting in settings:
        key, _equals, text = setting.partition("=")
        values = sql.SQL(", ").join(map(sql.Literal, _split_names(text) if key in _LISTS else [text]))
        name = sql.SQL(".").join(sql.Identifier(part) for part in key.split("."))
        server.run(who + sql.SQL(" SET ") + name + sql.SQL(" TO ") + values, f"set {key}")


def _grant(server: TargetServer, database: Any, properties: dict[str, Any]) -> None:
    from psycopg2 import sql

    owner = sql.Identifier(properties["owner"])
    server.run(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, owner), "revoke privileges")
    granted = rows(
        server.connection,
        "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee)::text END AS role, privilege_type AS privilege,"
        " is_grantable AS grantable FROM aclexplode(%s::aclitem[])",
        [properties["acl"]],
    )
    for grant in granted:
        role = sql.Identifier(grant["role"]) if grant["role"] else sql.SQL("PUBLIC")
        option = sql.SQL(" WITH GRANT OPTION") if grant["grantable"] else sql.SQL("")
        privilege = sql.SQL(grant["privilege"])
        server.run(
            sql.SQL("GRANT {} ON DATABASE {} TO {}").format(privilege, database, role) + option, "grant privileges"
        )


def _split_names(text: str) -> list[str]:
    """The names in a stored list, such as ``"$user", public``; one empty name for an empty list."""
    found = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', text)
    return [quoted.replace('""', '"') or bare for quoted, bare in found] or [""]
