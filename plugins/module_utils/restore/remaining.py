# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What remains of a restore that ends before its end, stopped or failed: true at each moment, as whoever acts says it here. Pure."""

from __future__ import annotations

from typing import Optional


class Remaining:
    """``begin`` a database, then say what happens to it; ``sentences`` are for the user. Nobody is asked for them: the server may be gone."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.waiting: list[str] = []
        #: whether roles and tablespaces were begun, and whether they are done
        self.globals_begun = self.globals_done = False
        self._name: Optional[str] = None
        self._there = self._one_transaction = False
        self.forget()

    def forget(self) -> None:
        """Nothing of the present database is half done."""
        #: the half-made database that is there, and whether it is being dropped; what the predecessor is called now; whether the new one
        #: has the name, and is complete; whether parts were begun to be written, and whether all are
        self.half: Optional[str] = None
        self.dropping = False
        self.aside: Optional[str] = None
        self.taken = False
        self.parts_begun = self.parts_done = False

    def begin(self, name: str, there: bool, one_transaction: bool) -> None:
        """The next database: whether one of its name is there, and whether parts go into that by one transaction."""
        self.forget()
        self._name, self._there, self._one_transaction = name, there, one_transaction
        self.waiting = [other for other in self.waiting if other != name]

    def end(self) -> None:
        """The present database is done."""
        if self._name is not None:
            self.done.append(self._name)
        self._name = None

    @property
    def changed(self) -> bool:
        """Whether something is other than it was."""
        return bool(
            self.done
            or self.globals_begun
            or self.half
            or self.aside
            or self.taken
            or self.parts_begun
            or self.parts_done
        )

    def present(self) -> str:
        """What the present database is now."""
        name = self._name
        if name is None:
            return ""
        said = []
        if self.taken:
            said.append(f"{name!r} stands under its name, complete and checked.")
            if self.aside:
                said.append(
                    f"Its predecessor is still there as {self.aside!r}, with what hung on it (slots, subscriptions): drop it when nothing of it "
                    "is needed."
                )
        elif self.aside:
            said.append(
                f"The database that was there is called {self.aside!r} now, and takes no connections: the next restore gives it its name back, "
                f"or do it by hand, after dropping {name!r}: ALTER DATABASE … RENAME TO, and … ALLOW_CONNECTIONS true."
            )
        elif self.parts_done:
            said.append(f"What was chosen is in {name!r}, all of it; it was not looked at to the end.")
        elif self.parts_begun and self._one_transaction:
            said.append(f"What was chosen went into {name!r} by one transaction: all of it is there, or nothing of it.")
        elif self.parts_begun:
            said.append(f"{name!r} keeps what was loaded before: with allow_errors each statement stands for itself.")
        elif self._there:
            said.append(f"{name!r} is as it was.")
        elif self.half != name:
            said.append(f"There is no database {name!r}, as before.")
        if self.half and self.dropping:
            said.append(
                f"The half-made database {self.half!r} was being dropped: if it is still there, the next restore does it."
            )
        elif self.half:
            said.append(
                f"Still there, half made, is the database {self.half!r}: the next restore drops it, or do it by DROP DATABASE."
            )
        return " ".join(said)

    def sentences(self) -> str:
        """All that remains."""
        said = []
        if self.done:
            said.append(f"Restored already, complete and checked: {', '.join(map(repr, self.done))}.")
        if self.globals_done:
            said.append("Roles and tablespaces were restored.")
        elif self.globals_begun:
            said.append("Of roles and tablespaces a part was restored; the next run does the rest.")
        said += [self.present()] if self.present() else []
        if self.waiting:
            said.append(f"Not begun: {', '.join(map(repr, self.waiting))}.")
        return " ".join(said)
