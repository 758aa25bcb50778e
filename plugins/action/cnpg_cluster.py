# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cnpg_cluster, with its progress shown."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.plugin_utils.watched_action import WatchedAction


class ActionModule(WatchedAction):
    """cnpg_cluster"""
