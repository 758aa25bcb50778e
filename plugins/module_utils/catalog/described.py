# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record, as modules return it, in a few words for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional


def encryption(record: Mapping[str, Any]) -> str:
    """encrypted (aes256)"""
    method = (record.get("encryption") or {}).get("method")
    if method is None:
        return "encryption unknown"
    return "not encrypted" if method == "none" else f"encrypted ({method})"


def source_size(record: Mapping[str, Any]) -> Optional[int]:
    """Bytes on the server: of the databases, or of what was read of it; None: not known."""
    sizes = [entry.get("size") for entry in record.get("databases") or []]
    if record.get("kind") == "logical" and sizes and None not in sizes:
        return int(sum(sizes))
    known: Optional[int] = record.get("raw_size")
    return known


def stored_size(record: Mapping[str, Any]) -> Optional[int]:
    """Bytes in a repository, ours or an engine's; None: not known."""
    found: Optional[int] = record.get("size") or (record.get("scope") or {}).get("stored") or None
    return found
