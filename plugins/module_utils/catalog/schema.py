# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a manifest has the form that docs/manifest.schema.json describes; jsonschema is on no target. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ENGINES
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

Check = Callable[[Any], bool]
_KINDS = sorted({kind for row in ENGINES.values() for kind in row.kinds})
_SHA256 = re.compile("[0-9a-f]{64}")
_HEX = re.compile("([0-9a-f]{2}){1,64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LARGEST = 1 << 63


def _text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _time(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_time(value, "time") is not None
    except BadOption:
        return False


def _lsn(value: Any) -> bool:
    try:
        return isinstance(value, str) and Lsn.parse(value, "lsn") >= 0
    except BadOption:
        return False


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def _object(must: Mapping[str, Check], may: Optional[Mapping[str, Check]] = None) -> Check:
    allowed = may or {}

    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        for name, fits in must.items():
            if name not in value or not fits(value[name]):
                return False
        return all(name not in value or fits(value[name]) for name, fits in allowed.items())

    return check


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


#: a path below the backup's folder
_key = _matches(re.compile(r"(?!\.{1,2}(/|$))[^/\0]+(/(?!\.{1,2}(/|$))[^/\0]+)*", re.DOTALL))
_NAMES = _list_of(_text)
_ARTIFACT = _object(
    {"key": _key, "role": _text, "size": _number, "sha256": _matches(_SHA256),
     "raw_size": _or_null(_number), "database": _or_null(_text)}
)  # fmt: skip
_ARTIFACTS = _list_of(_ARTIFACT)
_SERVER = _object(
    {"name": _text, "system_id": _or_null(_text), "timeline": _or_null(_number)},
    {"version": _or_null(_text), "version_num": _or_null(_number), "in_recovery": _or_null(_flag),
     "wal_segment_size": _number, "data_directory": _or_null(_text),
     "tablespaces": _list_of(_object({"oid": _number, "name": _text, "location": _text}))},
)  # fmt: skip
_SCOPE = _object(
    {},
    {"databases": _or_null(_NAMES), "schemas": _NAMES, "exclude_schemas": _NAMES, "tables": _NAMES, "exclude_tables": _NAMES,
     "exclude_table_data": _NAMES, "schema_only": _flag, "data_only": _flag, "globals": _flag, "large_objects": _or_null(_flag),
     "cluster": _flag},
)  # fmt: skip
_LEFT_OUT = _object({"schema": _text, "table": _text, "why": _text, "rows": _or_null(_number)})
_DATABASE = _object(
    {"name": _text},
    {
        "format": _text,
        "artifact": _text,
        "size": _or_null(_number),
        "native": _or_null(_flag),
        "left_out": _list_of(_LEFT_OUT),
    },
)

#: every field of a manifest, and what it may be
FIELDS: Mapping[str, Check] = {
    "id": _matches(_ID),
    "engine": _one_of(*ENGINES),
    "kind": _one_of(*_KINDS),
    "engine_version": _text,
    "server": _SERVER,
    "started_at": _time,
    "stopped_at": _time,
    "start_lsn": _or_null(_lsn),
    "stop_lsn": _or_null(_lsn),
    "scope": _SCOPE,
    "consistency": _object({}),
    "databases": _list_of(_DATABASE),
    "compression": _object(
        {"method": _one_of("none", "gzip", "lz4", "zstd"), "level": _or_null(lambda v: isinstance(v, int))}
    ),
    "encryption": _object({"method": _one_of("none", "aes256", "pgp"), "recipients": _NAMES}, {"fingerprints": _NAMES}),
    "artifacts": lambda value: _ARTIFACTS(value) and len(value) > 0,
    "created_by": _text,
    "parent": _or_null(_text),
    "verified_at": _or_null(_time),
    "drilled_at": _or_null(_time),
    "pinned": _flag,
    "annotations": lambda value: isinstance(value, dict),
    "warnings": _NAMES,
    "signature": _or_null(_object({"method": _text, "salt": _matches(_HEX), "value": _matches(_SHA256)})),
}
OPTIONAL = frozenset(("parent", "verified_at", "drilled_at", "pinned", "annotations", "warnings", "signature"))


def check(content: Mapping[str, Any]) -> None:
    """Raise ValueError for the first field that is missing, or is not what it must be."""
    if content.get("format") != 1:
        raise ValueError(f"format cannot be {content.get('format')!r}")
    for name, fits in FIELDS.items():
        if name not in content:
            if name not in OPTIONAL:
                raise ValueError(f"{name} is missing")
        elif not fits(content[name]):
            shown = repr(content[name])
            raise ValueError(f"{name} cannot be {shown[:80]}{'…' if len(shown) > 80 else ''}")
    keys = [item["key"] for item in content["artifacts"]]
    if len(set(keys)) != len(keys):
        raise ValueError("artifacts has one of them twice")
