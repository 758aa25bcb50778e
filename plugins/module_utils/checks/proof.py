# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was proven after something was restored, recovered or promoted: said in words, with what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError


@dataclass
class Proof:
    """The outcome of looking at the landing; an exit code proves nothing.

    Each list has complete sentences for people. What is in ``missing`` (asked for, and neither found nor compared) is an error of
    the run that asked (``require``); ``lost`` is what the source could not bring along (slots, passwords, rows that pg_dump leaves out).
    """

    proven: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, other: Proof) -> None:
        """Take in what another check found."""
        self.proven += other.proven
        self.unproven += other.unproven
        self.lost += other.lost
        self.missing += other.missing

    def require(self, means: str = "") -> None:
        """Whoever lands asks this before what was made gets its name. ``means``: a sentence before what is missing.

        Raises:
            ServerError: something is missing.
        """
        if self.missing:
            raise ServerError(" ".join(filter(None, [means, *self.missing])))

    def describe(self) -> dict[str, Any]:
        """For a module's result (``proof``)."""
        return {"proven": self.proven, "unproven": self.unproven, "lost": self.lost}
