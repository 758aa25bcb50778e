# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as its clients reach it: its last WAL goes into the archive before it is stopped, and what serves afterwards is looked at from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_LOOKS = 30.0  # seconds in which a Service leads to a pod that is ready
_NOW = """
SELECT pg_is_in_recovery() AS recovering, current_setting('archive_mode') AS archive_mode,
(SELECT system_identifier::text FROM pg_control_system()) AS system_id,
CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline
"""


def is_given(params: Mapping[str, Any]) -> bool:
    """Whether the options say how the server is reached."""
    return any(params[name] for name in ("login_host", "login_unix_socket", "connect_params"))


class Serving:
    """``params``: the module's, with its options of the connection and the repository. Nothing is asked where they name no server."""

    def __init__(self, params: Mapping[str, Any], warnings: list[str]) -> None:
        self._params, self._warnings = params, warnings
        self._given = is_given(params)

    def send_last(self, timeout: float) -> Optional[str]:
        """Have the server end its segment, and wait until the archive has it: the segment. None: it is not known how, or there is no server any more,
        which is a warning.

        Raises:
            WalError, ServerError: it runs, and does not archive.
        """
        if not self._given:
            return None
        import psycopg2

        wal = self._archive()
        try:
            with self._connection() as connection:
                if facts.value(connection, "SELECT pg_is_in_recovery()"):
                    return None
                size = SegmentSize(facts.wal_segment_size(connection))
                segment = wal_end.switch(connection).segment
        except (HoldfastError, psycopg2.Error) as exc:
            why = " ".join(str(exc).split())
            self._warnings.append(
                f"The server could not be asked to send its last WAL, so that what it wrote last may be in no archive: {why}"
            )
            return None
        if wal is None:
            return None

        def there() -> Optional[bool]:
            # What is not whole yet, and a backup's history, begin with the same digits.
            found = any(name.startswith(segment) and classify(name, size).kind == SEGMENT for name in wal.names())
            return found or None

        if Waiter(timeout, pause=0.5, most=3.0).until({"there": there}) is None:
            raise ServerError(
                f"The server's last WAL ({segment}) did not come into {wal.description} within {timeout:.0f} s: what received or archived it is behind, or "
                "does not work. A recovery to the end of the archive would lack it. Nothing was stopped. Look at backup_status; to recover without it, leave "
                "login_host out."
            )
        return segment

    def compare(self, landed: Mapping[str, Any], beside: bool = False) -> Proof:
        """Whether what serves is what was recovered. ``beside``: it may archive nothing. Raises ServerError: it is another server, or another history."""
        proof = Proof()
        if not self._given:
            proof.unproven.append("That clients reach it: login_host was not given.")
            return proof
        import psycopg2

        last: list[Exception] = []

        def look() -> Optional[dict[str, Any]]:
            try:
                with self._connection() as connection:
                    return facts.rows(connection, _NOW)[0]
            except (HoldfastError, psycopg2.Error) as exc:
                last[:] = [exc]
                return None

        seen = Waiter(_LOOKS, pause=0.5, most=2.0).until({"reached": look})
        if seen is None:
            # Its passwords are those of the moment that it was brought back to.
            why = " ".join(str(last[0]).split()) if last else "it did not answer"
            proof.unproven.append(f"That clients reach it: {why}")
            return proof
        row = seen.value
        if (
            row["recovering"]
            or str(row["system_id"]) != str(landed.get("system_id"))
            or int(row["timeline"], 16) != landed.get("timeline")
        ):
            raise ServerError(
                f"What answers there is not what was recovered: system identifier {row['system_id']} on timeline {row['timeline'] or 'of another'}, and it was "
                f"{landed.get('system_id')} on timeline {landed.get('timeline')}. Does login_host lead to this server?"
            )
        if beside and row["archive_mode"] != "off":
            raise ServerError(
                f"What answers there archives (archive_mode is {row['archive_mode']}), by what its own start says (an argument, or a program of the "
                "image), and would write where the server archives that it comes from. Have its start leave archive_mode alone."
            )
        proof.proven.append(
            f"Over {self._params['login_host'] or 'its connection'} the recovered server answers, on timeline {landed['timeline']}."
        )
        return proof

    def _archive(self) -> Optional[WalArchive]:
        if not self._params["repository"]:
            return None
        try:
            repository = open_repository(self._params["repository"], "repository")
            repository.check(write=False)
            wal = wal_in(repository, self._params["server_name"], _names_alone)
            if wal is None:
                self._warnings.append(
                    f"{repository.description} has no WAL of {self._params['server_name']}, so that the server's last WAL was not waited for."
                )
            return wal
        except HoldfastError as exc:
            self._warnings.append(
                f"That the server's last WAL is in the archive was not looked at, as it is not reached from here: {exc}"
            )
            return None

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with workspace() as space, contextlib.closing(Address(self._params, space).connect()) as connection:
            connection.autocommit = True
            yield connection


def _names_alone(marker: Mapping[str, Any]) -> Encryption:
    raise BadOption(
        "encryption", None, "is not used for this", "Names are looked at, and nothing else is read of the archive."
    )
