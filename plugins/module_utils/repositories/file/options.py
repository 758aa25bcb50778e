# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a directory."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import StoreOptions

OPTIONS = StoreOptions(
    spec={
        "path": {"type": "path"},
    },
    required=("path",),
)
