# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and tablespaces of a script of pg_dumpall, fitted to the server that they come to. Pure.

What is there stays: nobody is made twice, and neither the role that is logged in nor a superuser that is there gets another password,
which would lock out whoever restores. Statements are told apart by their words, so nothing depends on messages of a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.edit import identifier
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Statement, Token, unquoted
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.lexer import read
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Edit

_ROLE = ("role", "user", "group")
_ENDS_ROLES = ("with", "granted", "cascade", "restrict")


@dataclass
class Fitting:
    """How roles and tablespaces are fitted. ``roles``: those that the server has, and whether they are superusers; ``login``: the
    one that is logged in; ``overwrite``: these and superusers may be changed.

    Afterwards ``kept`` are those that stayed as they are, ``unnamed`` those that came without the password that they need.
    """

    login: str
    roles: Mapping[str, bool]
    tablespaces: frozenset[str] = frozenset()
    locations: Mapping[str, str] = field(default_factory=dict)
    role_map: Mapping[str, str] = field(default_factory=dict)
    no_owner: bool = False
    no_privileges: bool = False
    overwrite: bool = False
    kept: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What the user is to know."""
        found = []
        if self.kept:
            found.append(
                f"The password and attributes of {_listed(self.kept)} stay as they are on this server: who is logged in, and superusers "
                "that are there, are changed with superuser_passwords: true alone."
            )
        if self.unnamed:
            found.append(
                f"Roles were restored without a password, as the backup holds none (it is not encrypted): {_listed(self.unnamed)}. They "
                "cannot log in by password until one is set."
            )
        return found

    def edits(self, statement: Statement) -> Iterator[Edit]:
        """What must be other about a statement on roles or tablespaces; nothing, where it is run as it is."""
        words = statement.words
        cut = Edit(statement.start, statement.end)
        if words[0] in ("create", "alter", "drop") and words[1:2] and words[1] in _ROLE:
            if words[2:3] != ["mapping"] and not self._role(words):
                yield cut
        elif words[0] == "drop" and words[1:2] == ["tablespace"]:
            yield cut
        elif words[:2] == ["create", "tablespace"] and len(words) > 2:
            yield from (cut,) if unquoted(words[2]) in self.tablespaces else self._tablespace(statement.tokens, words)
        elif words[0] in ("grant", "revoke"):
            yield from self._grant(statement, words, cut)
        elif words[:3] == ["comment", "on", "role"]:
            yield from (cut,) if unquoted(words[3]) in self.role_map else ()
        elif words[:2] == ["alter", "tablespace"] and words[3:4] == ["owner"]:
            yield from (cut,) if self.no_owner else ()

    def _role(self, words: list[str]) -> bool:
        """Whether a statement about a role is run."""
        at = 4 if words[2:4] == ["if", "exists"] else 2
        name = unquoted(words[at]) if at < len(words) else ""
        if words[0] == "drop" or name in self.role_map:
            return False  # who is there stays; and the new name's role must be there
        if words[0] == "create":
            return name not in self.roles
        if words[at + 1 : at + 2] and words[at + 1] not in ("with", "password"):
            return True  # a setting, or in a database
        protected = name == self.login or self.roles.get(name, False)
        if protected and not self.overwrite:
            self.kept += [name] if name not in self.kept else []
            return False
        if "login" in words and "password" not in words and name not in self.roles:
            self.unnamed.append(name)
        return True

    def _tablespace(self, tokens: tuple[Token, ...], words: list[str]) -> Iterator[Edit]:
        name = unquoted(words[2])
        for number, word in enumerate(words[:-1]):
            following = tokens[number + 1]
            if word == "owner":
                owner = unquoted(words[number + 1])
                if self.no_owner:
                    yield Edit(tokens[number].start, following.end)
                elif owner in self.role_map:
                    yield Edit(following.start, following.end, identifier(self.role_map[owner]))
            if word == "location" and name in self.locations:
                text = "'" + self.locations[name].replace("'", "''") + "'"
                yield Edit(following.start, following.end, text.encode("utf-8", "surrogateescape"))

    def _grant(self, statement: Statement, words: list[str], cut: Edit) -> Iterator[Edit]:
        on = words.index("on") if "on" in words else None
        if on is not None and self.no_privileges:
            yield cut
            return
        names = on is None
        for number, word in enumerate(words[1:], 1):
            if word in ("to", "from") or (word == "by" and words[number - 1] == "granted"):
                names = True
            elif word in _ENDS_ROLES or word == "on":
                names = False
            elif names and unquoted(word) in self.role_map:
                token = statement.tokens[number]
                yield Edit(token.start, token.end, identifier(self.role_map[unquoted(word)]))


def fit(script: str, fitting: Fitting) -> str:
    """A script of ``pg_dumpall --globals-only``, fitted."""
    data = script.encode("utf-8", "surrogateescape")
    edits = [
        edit
        for item in read(BytesIO(data).read)
        if isinstance(item, Statement) and item.tokens
        for edit in fitting.edits(item)
    ]
    parts, position = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [data[position : edit.start], edit.text]
        position = edit.end
    return b"".join([*parts, data[position:]]).decode("utf-8", "surrogateescape")


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
