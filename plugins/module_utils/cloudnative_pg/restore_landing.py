# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at once a recovered Cluster serves: where it landed, whether it archives, and that it has a backup of its own."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import reached
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    CLUSTER,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.recovery_log import Ended
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.store_source import StoreWal
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Forbidden
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import PSYCOPG2_ERROR, Address
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import parse_history

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: seconds in which a server that serves has archived its history file
_ARCHIVED = 180.0
_NOW = """
SELECT pg_is_in_recovery() AS recovering, (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
(SELECT timeline_id FROM pg_control_checkpoint()) AS checkpoint_timeline,
CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline
"""


class RestoreLanding:
    """Looks at one. ``login``: how it is reached (options of a connection), None: by its own Service and Secret."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        scratch: str,
        login: Optional[Mapping[str, Any]],
        tell: Callable[[str], None],
    ) -> None:
        self._cluster, self._name, self._scratch, self._login, self._tell = cluster, name, scratch, login, tell

    def reached(
        self, archive: Optional[StoreArchive], target: Target, timeline: Optional[int], ended: Ended, proof: Proof
    ) -> Optional[reached.Reached]:
        """Where the recovery ended, by the history file in the new archive, else by its log; compared into ``proof``.

        Raises:
            ServerError: it archives, and the file does not come there.
        """
        now = self._now()
        if archive is None:
            heard = f" (its log: {ended.stopped})" if ended.stopped else ""
            proof.unproven.append(
                f"Where the recovery ended{heard}: the history file that says so is archived nowhere."
            )
            return None
        number = now.timeline or ended.timeline
        if number is None or number < 2:
            raise ServerError(
                f"{now} is on timeline {number or 'unknown'}: it did not end a recovery, or the operator has not looked at it yet. Run this again."
            )
        text = self._history(archive, number)
        found = reached.Reached.of(number, parse_history(text, number), ended.last, timeline)
        proof.add(reached.compare(target, timeline, found))
        return found

    def archives(self, proof: Proof) -> None:
        """Wait until its WAL is archived, by the operator's own condition. Raises ServerError: it is not."""

        def look() -> Optional[CnpgCluster]:
            now = self._now()
            return now if now.is_true("ContinuousArchiving") else None

        if Waiter(_ARCHIVED, pause=0.5, most=2.0).until({"archives": look}) is None:
            condition = self._now().conditions.get("ContinuousArchiving")
            said = (condition.message or condition.reason) if condition else "the operator does not say"
            raise ServerError(
                f"The Cluster {self._name} is recovered and serves, and its WAL is not archived after {format_duration(_ARCHIVED)}: {said}. What is "
                "written there is in no backup. Mend that before anybody uses it."
            )
        proof.proven.append("Its WAL is archived (ContinuousArchiving is True).")

    def serves(self, system_id: Optional[str], proof: Proof) -> None:
        """Ask the server itself, as clients do. ``system_id``: of the backup. Raises ServerError: what answers is not what was recovered."""
        now = self._now()
        if system_id and now.system_id and system_id != now.system_id:
            raise ServerError(
                f"{now} has the system identifier {now.system_id}, and the backup is of {system_id}: it is another server. Nobody should use it."
            )
        row = self._ask(proof)
        if row is None:
            return
        timeline = int(row["timeline"], 16) if row["timeline"] else None
        if row["recovering"] or (now.system_id and row["system_id"] != now.system_id):
            raise ServerError(
                f"What answers as {self._name}-rw is not what was recovered: system identifier {row['system_id']}"
                f"{', still in recovery' if row['recovering'] else ''}, and the operator says {now.system_id}."
            )
        if now.timeline and timeline != now.timeline:
            raise ServerError(f"The server is on timeline {timeline}, and the operator says {now.timeline}.")
        proof.proven.append(f"The server answers its clients, and is on timeline {timeline}.")

    # What follows is how.

    def _now(self) -> CnpgCluster:
        found = self._cluster.get(CLUSTER, self._name)
        if found is None:
            raise ServerError(f"The Cluster {self._name} was deleted while it was looked at.")
        return cluster_of(found)

    def _history(self, archive: StoreArchive, timeline: int) -> str:
        wal, path = StoreWal(archive), os.path.join(self._scratch, history_name(timeline))
        self._tell(f"waiting for {history_name(timeline)} in {archive.description}")
        if (
            Waiter(_ARCHIVED, pause=0.5, most=2.0).until(
                {"there": lambda: wal.fetch(history_name(timeline), path) or None}
            )
            is None
        ):
            raise ServerError(
                f"{history_name(timeline)} did not come into {wal.description} within {format_duration(_ARCHIVED)}: the new Cluster's WAL is not "
                "archived, and a recovery from there would not find its timeline. Look at its condition ContinuousArchiving, and run this again."
            )
        with open(path, encoding="utf-8") as stream:
            return stream.read()

    def _ask(self, proof: Proof) -> Optional[dict[str, Any]]:
        if PSYCOPG2_ERROR:
            proof.unproven.append("That the server answers: psycopg2 is not installed here.")
            return None
        import psycopg2

        last: list[Exception] = []

        def look() -> Optional[dict[str, Any]]:
            try:
                with self._connection() as connection:
                    return facts.rows(connection, _NOW)[0]
            except (HoldfastError, psycopg2.Error) as exc:
                last[:] = [exc]
                return None

        found = Waiter(20.0, pause=0.5, most=2.0).until({"answers": look})
        if found is None:
            why = " ".join(str(last[0]).split()) if last else ""
            proof.unproven.append(f"That the server answers its clients: it was not reached from here. {why}".rstrip())
            return None
        return found.value

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with contextlib.closing(Address(self._login or self._own_login(), self._scratch).connect()) as connection:
            connection.autocommit = True
            yield connection

    def _own_login(self) -> dict[str, Any]:
        """The application's, by the Service's name, which pods can resolve, else by its address."""
        recovery = ((self._now().manifest.get("spec") or {}).get("bootstrap") or {}).get("recovery") or {}
        secret = (recovery.get("secret") or {}).get("name") or f"{self._name}-app"
        try:
            found = self._cluster.get("Secret", secret)
        except Forbidden as exc:
            raise ServerError(f"{exc} Give login_host, login_user and login_password.") from exc
        if found is None:
            raise ServerError(
                f"There is no Secret {secret} to log in by: give login_host, login_user and login_password."
            )
        data = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        service = self._cluster.get("Service", f"{self._name}-rw") or {}
        address = (service.get("spec") or {}).get("clusterIP")
        return {
            "login_host": address or f"{self._name}-rw.{self._cluster.namespace}.svc",
            "login_user": data.get("username"),
            "login_password": data.get("password"),
            "login_db": data.get("dbname") or "postgres",
        }
