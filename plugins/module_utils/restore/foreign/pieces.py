# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database in several scripts: its roles, its definitions, its rows (Supabase's three files; pg_dump's ``--section`` and ``--data-only``).
One behind the other in one file they are one dump; each alone is known for what it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Script

_ROLE = ("role", "user", "group")
# What pg_dump sets at the beginning of each script that it writes, so that nothing of what was set before matters.
_SETS = frozenset(("client_encoding", "standard_conforming_strings"))


@dataclass
class _Piece:
    made: int  # tables that were made before it
    fills: int = 0  # statements that fill tables


class Pieces:
    """What follows what, statement by statement."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._pieces: list[_Piece] = []
        self._fills = self._roles = self._makes = 0
        #: the line of a RESET ALL behind which only another dump may begin (Supabase's scripts end with one)
        self.reset: Optional[int] = None
        self._set: set[str] = set()

    def mark(self, text: str) -> None:
        """A comment by which pg_dump begins or ends."""
        if text == "dump":
            self._pieces.append(_Piece(len(self._script.made)))
            self.reset = None

    def fills(self) -> None:
        """Rows are inserted."""
        self._fills += 1
        if self._pieces:
            self._pieces[-1].fills += 1

    def statement(self, words: list[str]) -> None:
        """One that is not left out."""
        first, second = words[0], words[1] if len(words) > 1 else ""
        of_a_role = first in ("create", "alter", "drop") and second in _ROLE and words[2:3] != ["mapping"]
        if first == "copy" or words[:2] == ["insert", "into"]:
            self.fills()
        elif of_a_role or (first in ("grant", "revoke") and "on" not in words):
            self._roles += 1
        elif first in ("create", "do", "call", "import") and second != "database":
            self._makes += 1

    def broken_by(self, words: list[str]) -> Optional[int]:
        """The line of a RESET ALL that a statement must not follow; None: it may."""
        if self.reset is None:
            return None
        if words[0] == "set":
            self._set.update(_SETS & set(words[1:2]))
            if self._set >= _SETS:
                self.reset, self._set = None, set()
            return None
        line, self.reset = self.reset, None
        return line

    def make_one(self, marks: list[str]) -> bool:
        """Whether the dumps that a file holds are pieces of one: definitions first, then rows in one of them. Else they are copies of one
        database, or of several."""
        if len(self._pieces) < 2:
            return True
        whole = marks == ["dump", "dump complete"] * len(self._pieces)
        filling = [number for number, piece in enumerate(self._pieces) if piece.fills]
        only_first_makes = 0 < self._pieces[1].made == len(self._script.made)
        return whole and only_first_makes and len(filling) < 2 and filling != [0]

    def finish(self) -> None:
        """When all is read."""
        self._script.only_rows = bool(self._fills) and not self._makes and not self._script.cluster
        self._script.only_roles = bool(self._roles) and not self._makes and not self._fills and not self._script.cluster
