# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter cron_problem (its .yml has the documentation)."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.holdfast.postgres.plugins.module_utils.cron import problem


class FilterModule:
    """cron_problem"""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"cron_problem": problem}
