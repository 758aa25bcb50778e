# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is connected to a server, such as applications that should have been stopped."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

# Walsenders are no client backends: standbys and backups are not meant.
_SESSIONS = (
    "SELECT datname AS database, usename AS user, application_name, host(client_addr) AS client, state, count(*) AS count"
    " FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    " GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC, 1, 2, 3, 4, 5"
)


def sessions(connection: Any) -> list[dict[str, Any]]:
    """Sessions of clients but this one, alike ones as one with their ``count``. A role that may not see others' (pg_monitor) gets null for
    what they do."""
    return [dict(row) for row in facts.rows(connection, _SESSIONS)]
