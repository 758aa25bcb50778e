# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data that is hard to back up: the SQL beside this file, run into a server that is otherwise empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .servers import Server

SQL = Path(__file__).with_name("sql")

SHOP = "shop"
QUOTES = 'Größe & "Quotes"'
DASH = "-leading dash"
UPPER = "UPPER Case"
LOWER = "upper case"
HOSTILE = "../a=b $(id) {{ 7*7 }} %s"
COLLATION = "other collation"
REPLICATED = "replicated"
READ_ONLY = "read only"

# What fills which database.
CONTENT: Mapping[str, str] = {
    SHOP: "shop.sql",
    QUOTES: "identifiers_and_values.sql",
    DASH: "partitions.sql",
    UPPER: "latin1.sql",
    LOWER: "plain.sql",
    HOSTILE: "raw_bytes.sql",
    COLLATION: "collation.sql",
    REPLICATED: "replicated.sql",
    READ_ONLY: "plain.sql",
    "postgres": "plain.sql",
}

SCALES: Mapping[str, Mapping[str, int]] = {
    "small": {"rows": 5_000, "wide_rows": 8, "many_tables": 20, "large_object": 200_000},
    "medium": {"rows": 300_000, "wide_rows": 1_500, "many_tables": 300, "large_object": 8_000_000},
}

EXTENSIONS = ("hstore", "pg_trgm", "postgres_fdw", "vector")
# The catalogues list types, collations and methods that a build then refuses to work with: trying is the only test.
PROBES: Mapping[str, str] = {
    "icu": "CREATE COLLATION probe (provider = icu, locale = 'de')",
    "lz4": "SET default_toast_compression = lz4",
    "xml": "SELECT '<a/>'::xml",
}


@dataclass(frozen=True)
class HardData:
    """What was built, for those who back it up and look whether it came back."""

    server: Server
    databases: tuple[str, ...]
    roles: tuple[str, ...]
    tablespaces: Mapping[str, Path]
    unlogged: tuple[tuple[str, str], ...]
    features: frozenset[str]


def build(server: Server, scale: str = "small") -> HardData:
    """Fill an empty server. What the server's build cannot do (ICU, contrib, …) is left out, and not in `features`."""
    features = detect(server)
    tablespaces = {"fast space": server.server_directory("fast space"), "db_space": server.server_directory("db_space")}
    variables = {
        **{name: str(value) for name, value in SCALES[scale].items()},
        **{name: str(name in features) for name in ("icu", "xml", "lz4", "v16", "v17", "v18", *EXTENSIONS)},
        **{name.replace(" ", "_"): str(path) for name, path in tablespaces.items()},
        "other_collation": _other_collation(features),
    }

    def run(script: str, db: str) -> None:
        server.psql((SQL / script).read_text(encoding="utf-8"), db, variables)

    run("globals.sql", "postgres")
    for db, script in CONTENT.items():
        run(script, db)
    run("settings.sql", "postgres")
    roles = server.query("SELECT rolname FROM pg_roles WHERE oid >= 16384 ORDER BY rolname")
    return HardData(
        server=server,
        databases=tuple(server.databases()),
        roles=tuple(str(name) for (name,) in roles),
        tablespaces=tablespaces,
        unlogged=((SHOP, '"Order Data".baskets'), (DASH, "public.by_number_1")),
        features=features,
    )


def detect(server: Server) -> frozenset[str]:
    """What this build of PostgreSQL can do beyond the least that all can."""
    features = {f"v{major}" for major in (16, 17, 18) if server.major >= major}
    available = server.query("SELECT name FROM pg_available_extensions WHERE name = ANY(%s)", values=[list(EXTENSIONS)])
    features.update(str(name) for (name,) in available)
    features.update(name for name, statement in PROBES.items() if _works(server, statement))
    return frozenset(features)


def _works(server: Server, statement: str) -> bool:
    try:
        server.psql(f"BEGIN; {statement}; ROLLBACK;")
    except RuntimeError:
        return False
    return True


def _other_collation(features: frozenset[str]) -> str:
    if "icu" in features:
        return "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"
    if "v17" in features:
        return "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    # No provider but libc: the character type differs from the collation, which a restore has to keep apart.
    return "LC_COLLATE 'POSIX' LC_CTYPE 'C'"
