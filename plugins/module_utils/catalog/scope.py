# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup holds of what there was: two with one scope can stand in for each other, another one never. Pure.

A scope is what the user asked for (``databases``, ``tables``, ``schema_only``, …), as engines write it into the record; with
it go the engine and the way of encryption: a plain backup is no successor of an encrypted one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITHOUT_DATA

# What engines with a repository of their own say of a backup's size there; it is no choice of anybody's.
_MEASURES = frozenset(("size", "stored"))
_INCLUDES = ("schemas", "tables")
_EXCLUDES = ("exclude_schemas", "exclude_tables", "exclude_table_data")


def ordered(scope: Mapping[str, Any]) -> dict[str, Any]:
    """A scope with its lists in one order, without measures: two that mean the same are equal."""
    return {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in scope.items()
        if name not in _MEASURES
    }


def key_of(engine: str, encryption: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
    """What has the same key can stand in for each other."""
    return json.dumps([engine, encryption.get("method"), ordered(scope)], sort_keys=True)


def not_encrypted_for(record: Record, encryption: Mapping[str, Any]) -> list[str]:
    """The keys that an encryption, as records describe it, names and that cannot open a backup: fingerprints. Whoever has one of them alone
    can do nothing with it, however fresh it is."""
    return sorted(set(encryption.get("fingerprints") or ()) - set(record.encryption.get("fingerprints") or ()))


def key(record: Record) -> str:
    """``key_of`` a record."""
    return key_of(record.engine, record.encryption, record.scope)


@dataclass(frozen=True)
class PartsRequest:
    """What is asked of a backup. Empty ``databases``: all that there is; empty ``schemas`` and ``tables``: all of them."""

    databases: Collection[str] = ()
    schemas: Collection[str] = ()
    tables: Collection[str] = ()
    schema_only: bool = False
    data_only: bool = False


def lacks(record: Record, wanted: PartsRequest) -> Optional[str]:
    """What a logical backup has not of what is wanted, as the end of a sentence; None: nothing that is asked for by name."""
    names = {entry["name"] for entry in record.databases}
    missing = sorted(set(wanted.databases) - names)
    if missing:
        return f"has not {_list(missing)}, only {_list(sorted(names))}"
    scope = record.scope
    if scope.get("schema_only") and not wanted.schema_only:
        return "has no rows (schema_only)"
    if scope.get("data_only") and not wanted.data_only:
        return "has no definitions (data_only)"
    for option, asked in (("tables", wanted.tables), ("schemas", wanted.schemas)):
        has = scope.get(option)
        gone = sorted(name for name in asked if _is_named(name, scope.get(f"exclude_{option}") or ()))
        if gone or (asked and has and not set(asked) <= set(has)):
            return f"has not the {option} {_list(gone or sorted(set(asked) - set(has or ())))}"
    empty = [] if wanted.schema_only else without_rows(record, wanted.tables)
    if empty:
        return f"has no rows of {_list(empty)} (exclude_table_data)"
    if scope.get("tables") and not wanted.tables:
        return f"has only the tables {_list(scope['tables'])}"
    if scope.get("schemas") and not wanted.schemas and not wanted.tables:
        return f"has only the schemas {_list(scope['schemas'])}"
    return None


def without_rows(record: Record, tables: Collection[str]) -> list[str]:
    """Those of the tables whose rows a backup leaves out."""
    return sorted(name for name in tables if _is_named(name, record.scope.get("exclude_table_data") or ()))


def _is_named(name: str, patterns: Collection[str]) -> bool:
    """Whether a name is among names and patterns as pg_dump takes them; in doubt (a schema that one of the two does not say) it is."""
    schema, _dot, own = name.rpartition(".")
    for pattern in patterns:
        in_schema, _dot, rest = pattern.rpartition(".")
        if fnmatchcase(own, rest) and (not schema or not in_schema or fnmatchcase(schema, in_schema)):
            return True
    return False


def wider(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the scope ``one`` has all that ``other`` has, and more."""
    return _holds(one, other) and not _holds(one=other, other=one)


def _holds(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one.get("databases") and not (other.get("databases") and set(other["databases"]) <= set(one["databases"])):
        return False
    for name in ("schema_only", "data_only"):
        if one.get(name) and not other.get(name):
            return False
    for name, default in (("globals", True), ("large_objects", None)):
        if one.get(name, default) is False and other.get(name, default) is not False:
            return False
    for name in _INCLUDES:
        if one.get(name) and not (other.get(name) and set(other[name]) <= set(one[name])):
            return False
    for name in _EXCLUDES:
        # What one leaves out the other must leave out too, or name only other things.
        named = other.get(name.replace("exclude_", "").replace("table_data", "tables"))
        left_out = set(one.get(name) or ())
        if not left_out <= set(other.get(name) or ()) and not (named and not left_out & set(named)):
            return False
    return True


def describe(record: Record) -> str:
    """What a backup holds, for people: ``all databases``, ``shop, only the tables orders``."""
    scope = record.scope
    if record.engine in WITHOUT_DATA:
        return f"the objects of {scope.get('workload') or 'what was named'} in {scope.get('namespace')}"
    if record.kind != "logical":
        return "the whole server"
    parts = [_list(scope["databases"]) if scope.get("databases") else "all databases"]
    parts += [f"only the {name} {_list(scope[name])}" for name in _INCLUDES if scope.get(name)]
    parts += [f"without {_list(scope[name])} ({name})" for name in _EXCLUDES if scope.get(name)]
    parts += [name for name in ("schema_only", "data_only") if scope.get(name)]
    parts += ["without large objects"] if scope.get("large_objects") is False else []
    parts += ["without globals"] if scope.get("globals") is False else []
    return ", ".join(parts)


def _list(names: Collection[str]) -> str:
    return ", ".join(names)
