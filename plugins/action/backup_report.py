# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module backup_report, whose messages name a role's variables."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """backup_report"""
