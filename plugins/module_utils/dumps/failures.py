# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed while a dump was loaded: what the user allowed to, and the way out of what many meet. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

# pg_restore's own words, which LC_ALL=C keeps English; what the server says stands behind them, in its language.
_ERROR = re.compile(r"^pg_restore: error: *(.*)$", re.MULTILINE)


class Failures:
    """Hears every error. ``allow_errors``: parts of messages that the user allowed."""

    def __init__(self, allow_errors: Sequence[str]) -> None:
        self._allow_errors = allow_errors
        #: errors that the user allowed
        self.allowed: list[str] = []

    def heed(self, messages: str) -> None:
        """What pg_restore said. Raises what ``judge`` does."""
        self.judge(_ERROR.findall(messages))

    def judge(self, errors: list[str]) -> None:
        """Raises ToolError for those that the user did not allow."""
        bad = [line for line in errors if not self.is_allowed(line)]
        if bad:
            raise ToolError(f"{len(bad)} statements failed: {'; '.join(bad[:5])}{hint(bad)}.")
        self.allowed += errors

    def is_allowed(self, error: str) -> bool:
        """Whether the user allowed it."""
        return any(kind in error for kind in self._allow_errors)


def details(messages: str) -> str:
    """What psql told in detail."""
    found = re.findall(r"^DETAIL:\s+(.*)$", messages, re.MULTILINE)
    return f"({'; '.join(found[:3])})." if found else ""


def hint(errors: list[str]) -> str:
    """The way out of errors that many meet."""
    text = " ".join(errors)
    if "unrecognized configuration parameter" in text or "42704" in text and "configuration parameter" in text:
        return (
            ". The dump sets what this server's version does not know: let that fail by allow_errors: "
            "['unrecognized configuration parameter']"
        )
    if re.search(r"role .* does not exist", text):
        return ". Roles that the dump names are not there: restore them first, or use no_owner and no_privileges, or role_map"
    if "default_tablespace" in text or re.search(r"tablespace .* does not exist", text):
        return ". A tablespace that the dump names is not there: make it first, or set no_tablespaces: true"
    return ""
