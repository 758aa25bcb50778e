# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RESTORE.txt: how to get a backup back by hand, with stock tools alone. Pure."""

from __future__ import annotations

import shlex
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.by_hand import (
    DECRYPT,
    UNPACK,
    checksums,
    read,
    secrets,
)


def _conninfo(database: str) -> str:
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return shlex.quote(f"dbname='{escaped}'")


def _directory(entry: dict[str, Any], keys: list[str], encryption: str, native: bool) -> tuple[list[str], str]:
    """Commands that lay a directory-format dump out as pg_restore wants it, and its path."""
    lines, base = [], entry["artifact"]
    lines.append('UNPACKED=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast.XXXXXX")')
    for key in keys:
        name = key[len(base) + 1 :]
        if name.endswith(".gpg"):
            name = name[: -len(".gpg")]
        if native:
            command = f"cat ./{key}" + (f" | {DECRYPT[encryption]}" if key.endswith(".gpg") else "")
        else:
            command = read(key, encryption)
            name = next((name[: -len(suffix)] for suffix in UNPACK if name.endswith(suffix)), name)
        lines.append(f'{command} > "$UNPACKED/{name}"')
    return lines, '"$UNPACKED"'


def write(record: Record) -> str:
    """The text of RESTORE.txt; every line that is no comment works when it is pasted into a shell."""
    method = str(record.encryption["method"])
    lines = [
        f"# Backup {record.id} of the PostgreSQL server {record.server['name']!r} (version {record.server['version']}),",
        f"# made {record.started_at} by pg_dump {record.engine_version}. How to restore it by hand, with PostgreSQL's own",
        "# client programs of that major version or newer. Paste the lines into bash, in the folder of this file.",
        "#",
        "# Where the server is, and who you are there (a superuser; a password goes into ~/.pgpass):",
        "#   export PGHOST=... PGPORT=5432 PGUSER=postgres",
    ]
    lines += secrets(record)
    lines += [
        "export PGOPTIONS='-c default_transaction_read_only=off'",  # a database may be read-only by default
        "set -o pipefail",
        "",
        "# 1. Is everything still as it was written?",
        *checksums(record),
        "",
    ]
    for artifact in record.artifacts:
        if artifact.role == "globals":
            lines += [
                "# 2. Roles and tablespaces. 'already exists' is no harm; the directories of tablespaces must be there.",
                f"{read(artifact.key, method)} | psql -X -q -d postgres",
                "",
            ]
        if artifact.role == "cluster":
            lines += [
                "# Settings, pg_hba rules, extensions, slots and row counts, to read:",
                f"#   {read(artifact.key, method)}",
                "",
            ]
    for entry in record.databases:
        name, quoted = entry["name"], _conninfo(entry["name"])
        keys = [artifact.key for artifact in record.artifacts if artifact.database == name]
        lines.append(f"# 3. The database {name!r}")
        if entry["format"] == "plain":
            lines.append(
                "# (Its comment, settings, privileges, tablespace and limit are no part of a plain dump: see cluster.json.)"
            )
            if name != "postgres":
                lines.append(_createdb(entry))
            lines.append(f"{read(keys[0], method)} | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -d {quoted}")
        else:
            target = f"--dbname={quoted}" if name == "postgres" else "--create --dbname=postgres"
            if entry["format"] == "directory":
                unpack, path = _directory(entry, keys, method, bool(entry.get("native")))
                lines += unpack
                lines.append(f"pg_restore --exit-on-error {target} {path}")
                lines.append('rm -r "$UNPACKED"')
            else:
                lines.append(f"{read(keys[0], method)} | pg_restore --exit-on-error {target}")
        lines.append("")
    return "\n".join(lines)


def _createdb(entry: dict[str, Any]) -> str:
    arguments = ["createdb", "--template=template0", f"--encoding={entry['encoding']}"]
    arguments += [f"--lc-collate={entry['collate']}", f"--lc-ctype={entry['ctype']}", f"--owner={entry['owner']}"]
    if entry.get("locale_provider") == "i":
        arguments += ["--locale-provider=icu", f"--icu-locale={entry['locale']}"]
    return " ".join(shlex.quote(argument) for argument in [*arguments, "--", entry["name"]])
