# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter cluster_login (cluster_login.yml)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.cluster_login import cluster_login


class FilterModule:
    """cluster_login"""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cluster_login": cluster_login}
