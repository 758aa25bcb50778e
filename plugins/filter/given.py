# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters given, stores and store_of (their .yml have the documentation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import given, store_of, stores


class FilterModule:
    """given, stores, store_of"""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"given": given, "stores": stores, "store_of": store_of}
