# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a verification ends."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, ToolError


class Broken(CatalogError):
    """The backup is not what it should be: ``text`` says what, as the end of a sentence, at which level. Every other error says nothing against it:
    a store that is away, a passphrase that is another one's, a program that is missing."""

    def __init__(self, level: str, text: str) -> None:
        super().__init__(text)
        self.level, self.text = level, text


class Gone(CatalogError):
    """The backup was deleted while it was to be looked at."""


#: what programs say of this host, or of keys, and not of what they read
_OF_THE_HOST = (
    "no space left", "cannot allocate memory", "out of memory", "too many open files", "bad session key", "no secret key", "gpg-agent",
    "no pinentry", "permission denied", "cannot start",
)  # fmt: skip


def says_nothing(exc: ToolError) -> bool:
    """Whether a program that failed says nothing of what it read: it was killed, did not start, had no room or no key."""
    told = f"{exc} {exc.output or ''}".lower()
    return exc.rc is None or exc.rc < 0 or any(words in told for words in _OF_THE_HOST)
