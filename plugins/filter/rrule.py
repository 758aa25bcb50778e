# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter rrule (its .yml has the documentation)."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.postgres.plugins.plugin_utils import rrule as rules


def rrule(line: str, timezone: str = "Etc/UTC", start: str = "2026-01-01") -> str:
    try:
        return rules.rrule(str(line), str(timezone), str(start))
    except rules.CannotSay as exc:
        raise AnsibleFilterError(str(exc))


class FilterModule:
    """rrule"""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"rrule": rrule}
