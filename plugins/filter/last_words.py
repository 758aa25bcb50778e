# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter last_words (its .yml has the documentation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.last_words import last_words


class FilterModule:
    """last_words"""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"last_words": last_words}
