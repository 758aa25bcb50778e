# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server lets a replication connection in, tried as base backups and receivers of WAL would, and the line to add when not."""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address

# Source: src/backend/libpq/auth.c
_NO_LINE = re.compile(
    r'(?:no pg_hba.conf entry for|pg_hba.conf rejects) replication connection (?:from|for) host "([^"]+)", user "([^"]+)"'
)


def refused_replication(address: Address) -> str:
    """Why a replication connection is refused; empty: it is let in. The slot of a sender is given back at once."""
    import psycopg2
    from psycopg2.extras import PhysicalReplicationConnection

    dsn = address.conninfo(address.db)
    try:
        Background(lambda: psycopg2.connect(dsn, connection_factory=PhysicalReplicationConnection)).result().close()
    except psycopg2.OperationalError as exc:
        return explain(" ".join(str(exc).split()))
    return ""


def missing_rule(message: str) -> str:
    """The line for pg_hba.conf that is missing, by what libpq said; empty: it is not that. Pure."""
    found = _NO_LINE.search(message)
    if found is None:
        return ""
    host, user = found.groups()
    width = 128 if ":" in host else 32
    return (
        f"pg_hba.conf has no line that lets {user} replicate from {host}. Add 'host replication {user} {host}/{width} scram-sha-256' (or with the "
        "network of the pods instead of the one address; a line for 'all' databases does not cover replication) where the server reads its "
        "pg_hba.conf, and reload it: SELECT pg_reload_conf()"
    )


def explain(message: str) -> str:
    """What libpq said of a replication connection, with the way out. Pure."""
    rule = missing_rule(message)
    if rule:
        return rule
    if re.search(r"must be superuser or replication role|permission denied to start WAL sender", message):
        return f"the role may not replicate ({message}): ALTER ROLE … REPLICATION"
    if "max_wal_senders" in message:
        return f"every WAL sender is in use ({message}): raise max_wal_senders"
    return message.rstrip(".")
