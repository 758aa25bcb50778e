# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Barman's own note of a backup, ``<server>/base/<id>/backup.info``, as an entry of barman-cloud's listing: for who has no barman-cloud, such as
a look into the store of an operator. Pure.

Lines are ``name=value``, a value that is not known ``None``, lists and texts with line ends as Python writes them (barman/infofile.py).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

_LITERALS = ("tablespaces", "backup_label", "snapshots_info")
_NUMBERS = ("version", "timeline", "size", "cluster_size", "xlog_segment_size")
_DEFAULT_SEGMENT = 16 * 1024 * 1024


def entry(backup_id: str, text: str) -> dict[str, Any]:
    """One backup.info, as listing.records takes it.

    Raises:
        ValueError: it is none.
    """
    fields: dict[str, Any] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and value.strip() != "None":
            fields[name.strip()] = value.strip()
    if "status" not in fields:
        raise ValueError("it has no status")
    for name in _LITERALS:
        if name in fields:
            fields[name] = _literal(name, fields[name])
    for name in _NUMBERS:
        if name in fields:
            fields[name] = int(fields[name])
    for name in ("begin_time", "end_time"):
        if name in fields:
            fields[f"{name}_iso"] = fields[name]
    return {"xlog_segment_size": _DEFAULT_SEGMENT, **fields, "backup_id": backup_id}


def _literal(name: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as exc:
        raise ValueError(f"its {name} is no literal") from exc


def listing(notes: Iterable[tuple[str, str]], problems: list[str]) -> str:
    """Of ids and texts what barman-cloud-backup-list would print; what cannot be read goes to ``problems``."""
    found: list[Mapping[str, Any]] = []
    for backup_id, text in notes:
        try:
            found.append(entry(backup_id, text))
        except ValueError as exc:
            problems.append(f"The backup.info of Barman's backup {backup_id} cannot be read ({exc}).")
    return json.dumps({"backups_list": found}, default=str)
