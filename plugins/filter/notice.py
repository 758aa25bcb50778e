# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter notice (notice.yml)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.notice import notice


class FilterModule:
    """notice"""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"notice": notice}
