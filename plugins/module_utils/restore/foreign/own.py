# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script says of its database itself: encoding, locale, comment, limits. Pure."""

from __future__ import annotations

import re
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Statement, unquoted


def clause(item: Statement, number: int) -> Optional[str]:
    """``WITH …`` of CREATE DATABASE: encoding and locale alone, safely written anew."""
    words, found = item.words[number + 1 :], []
    names = {
        "encoding",
        "lc_collate",
        "lc_ctype",
        "locale",
        "locale_provider",
        "icu_locale",
        "icu_rules",
        "builtin_locale",
    }
    for at, word in enumerate(words):
        if word in names:
            value = words[at + 2] if words[at + 1 : at + 2] == ["="] else "".join(words[at + 1 : at + 2])
            if re.fullmatch(r"'(?:[^'\\]|'')*'|\w+", value):
                found.append(f"{word.upper()} = {value}")
    return "WITH TEMPLATE = template0 " + " ".join(found) if found else None


def properties(words: list[str], made: bool = False) -> Optional[dict[str, Any]]:
    """What a statement says of a database, behind its name, as properties; None: something else. ``made``: it is CREATE DATABASE."""
    plain = [word for word in words if word not in ("=", "with")]
    found: dict[str, Any] = {}
    for at, word in enumerate(plain[:-1]):
        value = plain[at + 1]
        if word == "limit" and plain[at - 1] == "connection" and value.lstrip("-").isdigit():
            found["connection_limit"] = int(value)
        elif word in ("is_template", "allow_connections"):
            found[word] = value in ("true", "on", "1")
        elif word == "tablespace" and made:
            found["tablespace"] = unquoted(value)
    if plain[:1] == ["is"] and len(plain) == 2 and (plain[1] == "null" or plain[1][:1] == "'" and plain[1][-1:] == "'"):
        found["comment"] = None if plain[1] == "null" else unquoted(plain[1])
    return found or None
