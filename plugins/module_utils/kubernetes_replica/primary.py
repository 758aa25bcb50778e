# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The primary, asked by SQL over its Service: which pod it is, and who follows it. That it is none of those that are made anew is its own word."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import is_given
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_ASKED = """
SELECT pg_is_in_recovery() AS recovering, host(inet_server_addr()) AS address, inet_server_port() AS port,
(SELECT system_identifier::text FROM pg_control_system()) AS system_id, current_setting('server_version_num')::int / 10000 AS major,
(SELECT sum(pg_database_size(oid))::bigint FROM pg_database) AS size,
ARRAY(SELECT spcname::text FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1) AS tablespaces
"""
_FOLLOWS = """
SELECT state, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), -1)::bigint AS behind FROM pg_stat_replication
WHERE client_addr = %s::inet AND state IN ('streaming', 'catchup') ORDER BY state DESC
"""
_SLOT = "SELECT slot_type, active, coalesce(wal_status, 'reserved') AS wal_status FROM pg_replication_slots WHERE slot_name = %s"


@dataclass(frozen=True)
class Asked:
    """What the server said. ``address``: of its pod; ``size``: bytes of its databases."""

    address: str
    port: int
    system_id: str
    major: int
    size: int
    tablespaces: tuple[str, ...]


class Primary:
    """``params``: the module's, with its options of the connection."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def require_given(self) -> None:
        """Raises BadOption."""
        if not is_given(self._params):
            raise BadOption(
                "login_host",
                None,
                "is missing",
                "Name the primary's Service: which pod is the primary, is its own word.",
            )

    def ask(self) -> Asked:
        """Raises ServerError: it cannot be asked, or is no primary; BadOption: nothing says how."""
        self.require_given()
        with self._connection() as connection:
            row = facts.rows(connection, _ASKED)[0]
        if row["recovering"]:
            raise ServerError(
                f"What {self._called} leads to is a standby ({row['address']}), and a replica is made of the primary. Nothing was done. Name the Service "
                "that leads to the primary alone."
            )
        if not row["address"]:
            raise ServerError(f"{self._called} leads to no address of a pod: name the primary's Service in login_host.")
        return Asked(
            row["address"],
            row["port"],
            row["system_id"],
            row["major"],
            int(row["size"] or 0),
            tuple(row["tablespaces"]),
        )

    def reserve(self, slot: str) -> str:
        """See to it that a slot of this name keeps the WAL from now on; what was done, as a sentence. Raises ServerError: another one uses it."""
        with self._connection() as connection:
            found = facts.rows(connection, _SLOT, [slot])
            if found and (found[0]["active"] or found[0]["slot_type"] != "physical"):
                raise ServerError(
                    f"The slot {slot} of the primary is {'in use' if found[0]['active'] else 'logical'}, though the pod that it was for is stopped: another "
                    "one follows by it. Give the replica one of its own (primary_slot_name in its configuration)."
                )
            if found and found[0]["wal_status"] != "lost":
                return f"The slot {slot} is there on the primary."
            if found:
                facts.value(connection, "SELECT pg_drop_replication_slot(%s)::text", [slot])
            facts.value(connection, "SELECT (pg_create_physical_replication_slot(%s, true)).slot_name::text", [slot])
        return f"The slot {slot} was made on the primary{' anew, as the one that was there had lost its WAL' if found else ''}."

    def follows(self, address: str, timeout: float) -> Optional[int]:
        """Bytes by which what follows from this address is behind, once it streams; None: it does not in time. Raises ServerError."""

        def look() -> Optional[int]:
            with contextlib.suppress(ServerError), self._connection() as connection:
                for row in facts.rows(connection, _FOLLOWS, [address]):
                    if row["state"] == "streaming":
                        return int(row["behind"])
            return None

        seen = Waiter(timeout, pause=0.5, most=2.0).until({"streams": look})
        return seen.value if seen is not None else None

    @property
    def _called(self) -> str:
        return str(self._params["login_host"] or "the connection")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        import psycopg2

        try:
            with workspace() as space, contextlib.closing(Address(self._params, space).connect()) as connection:
                connection.autocommit = True
                yield connection
        except psycopg2.Error as exc:
            raise ServerError(f"The primary ({self._called}) could not be asked: {' '.join(str(exc).split())}") from exc
        except ServerError:
            raise
        except HoldfastError as exc:
            raise ServerError(f"The primary ({self._called}) could not be asked: {exc}") from exc
