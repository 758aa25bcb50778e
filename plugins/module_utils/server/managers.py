# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs besides Patroni that make and promote standbys by themselves, and what they leave in a data directory."""

from __future__ import annotations

import os
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError

# What pg_auto_failover includes into postgresql.conf. Source: https://pg-auto-failover.readthedocs.io/en/main/ref/configuration.html
_AUTO_FAILOVER = ("postgresql-auto-failover.conf", "postgresql-auto-failover-standby.conf")


def refuse_managed(directory: str) -> None:
    """Raises ServerError: a keeper of pg_auto_failover looks after the server, and would undo what is done here."""
    if any(os.path.exists(os.path.join(directory, name)) for name in _AUTO_FAILOVER):
        raise ServerError(
            f"{directory} is a node of pg_auto_failover, whose keeper makes, rewinds and promotes its nodes itself, and would undo this. To "
            "promote: `pg_autoctl perform promotion`; to make it anew: `pg_autoctl drop node`, then `pg_autoctl create postgres`. If nobody "
            f"manages it any more, take {_AUTO_FAILOVER[0]} and {_AUTO_FAILOVER[1]} out of its configuration, and away."
        )


def told_of_repmgr(libraries: Optional[str]) -> list[str]:
    """What to say of a server that repmgr knows, by its ``shared_preload_libraries``: its daemon may act too, and its metadata is of before. Pure."""
    if "repmgr" not in [name.strip() for name in (libraries or "").split(",")]:
        return []
    return [
        "repmgr is loaded in this server. It does not learn of this promotion: its daemon, if it runs, may act against it, and its other nodes follow "
        "nobody. `repmgr standby promote` and `repmgr standby follow` do what its metadata needs; or unregister the nodes."
    ]
