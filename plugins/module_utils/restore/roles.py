# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other roles for owners and grantees, in the definitions that pg_restore prints. Pure.

pg_restore itself knows only to leave owners and privileges out. Its output is a sequence of entries, each with a header that
names its type; so a line in a function's body that looks like a GRANT is not taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r'(?:"(?:[^"]|"")+"|[^\s",;()]+)'
_HEADER = re.compile(r"^--\n-- Name: .*; Type: (.*?); Schema: .*?; Owner: .*\n--\n", re.MULTILINE)
_OWNER = rf"^(ALTER [^\n]* OWNER TO )({_NAME})(?=;"
_EVERY_OWNER = re.compile(_OWNER + "$)", re.MULTILINE)
# What pg_restore sets for the next entry stands behind it.
_LAST_OWNER = re.compile(_OWNER + r"\s*(?:(?:SET|--|\\)[^\n]*\s*)*\Z)", re.MULTILINE)
_GRANT = re.compile(rf"( (?:TO|FROM|FOR ROLE|GRANTED BY|SESSION AUTHORIZATION) )({_NAME})(?=[\s;])")
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_POLICY = re.compile(
    rf"^(CREATE POLICY {_NAME} ON {_NAME}(?:\.{_NAME})?(?: AS RESTRICTIVE)?(?: FOR \w+)? TO )({_NAMES})(?= USING| WITH CHECK|;)",
    re.MULTILINE,
)
_ACL = re.compile(rf"({_NAME}|)=([A-Za-z*]*)/({_NAME})")


def _exchange(identifier: str, roles: Mapping[str, str]) -> str:
    name = identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier
    return '"' + roles[name].replace('"', '""') + '"' if name in roles else identifier


def map_roles(script: str, roles: Mapping[str, str]) -> str:
    """The script of ``pg_restore --file=-`` with the roles of ``roles`` (former name to new name) exchanged."""

    def exchange(found: re.Match[str]) -> str:
        return found.group(1) + _exchange(found.group(2), roles)

    def exchange_all(found: re.Match[str]) -> str:
        return found.group(1) + re.sub(_NAME, lambda name: _exchange(name.group(0), roles), found.group(2))

    def entry(kind: str, body: str) -> str:
        if kind in ("ACL", "DEFAULT ACL"):
            return _GRANT.sub(exchange, body)
        if kind == "POLICY":
            return _POLICY.sub(exchange_all, body)
        # An object's owner is set by the last statement of its entry; an entry may hold many large objects.
        return (_EVERY_OWNER if kind.startswith("BLOB") else _LAST_OWNER).sub(exchange, body)

    parts, position, kind = [], 0, ""
    for header in _HEADER.finditer(script):
        parts.append(entry(kind, script[position : header.start()]) + header.group(0))
        position, kind = header.end(), header.group(1)
    parts.append(entry(kind, script[position:]))
    return "".join(parts)


def map_acl(acl: list[str], roles: Mapping[str, str]) -> list[str]:
    """The entries of an access control list (``grantee=privileges/grantor``) with the roles exchanged."""

    def exchange(found: re.Match[str]) -> str:
        grantee, privileges, grantor = found.groups()
        return f"{_exchange(grantee, roles)}={privileges}/{_exchange(grantor, roles)}"

    return [_ACL.sub(exchange, item) for item in acl]
