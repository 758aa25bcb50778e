# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container beside a server that recovers in private: waits until the recovery has ended, looks at what came of it through the socket that
both share, has the server stopped, and says what it saw as the pod's last message. A program of its own (``python3 -m``), as nothing but a pod runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.corruption import nothing_is_corrupt
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import server_is_whole, where_it_landed
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import (
    measures,
    reachable,
    subscriptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import AUTO, rewrite
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import way_out
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import last_words
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

PORT = 5432
#: bytes of a pod's last message (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/)
_MESSAGE = 4096
_SENTENCE = 500
_DATABASES = ("template1", "postgres")
_LANDED = """
SELECT pg_last_wal_replay_lsn()::text AS lsn, pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC' AS time,
pg_walfile_name(pg_current_wal_insert_lsn()) AS segment, (SELECT system_identifier::text FROM pg_control_system()) AS system_id
"""

# What its files say; what counts is the last (https://www.postgresql.org/docs/current/view-pg-file-settings.html).
_CONFIGURED = "SELECT name, setting FROM pg_file_settings WHERE error IS NULL AND name IS NOT NULL ORDER BY seqno"


class Watch:
    """``shared``: the directory of socket, log and marks; ``data``: the server's; ``superusers``: who may be one, the likeliest first; ``beside``: of a
    server that stands beside the one it comes from, settings of its own (None: it takes its place); ``amcheck``: how thoroughly tables and indexes are looked
    through, or ``none``, and ``check_time``: for how many seconds."""

    def __init__(
        self,
        shared: str,
        data: str,
        superusers: Sequence[str],
        target: Target,
        beside: Optional[Mapping[str, str]] = None,
        amcheck: str = "none",
        check_time: float = 0,
    ) -> None:
        self._shared, self._data, self._target, self._beside = shared, data, target, beside
        self._amcheck, self._check_time = amcheck, check_time
        self._settings: dict[str, Optional[str]] = {}
        self.isolated: list[str] = []
        self._ways = [(user, database) for user in superusers for database in _DATABASES]
        self._shown = 0
        self.proof = Proof()

    def run(self) -> dict[str, Any]:
        """What the recovery came to. The server is down afterwards, cleanly.

        Raises:
            ServerError: it failed, did not get there, or is not whole.
        """
        try:
            landed = self._land()
            self._look(landed)
            if self._beside is not None:
                self._isolate(self._beside)
        finally:
            with open(os.path.join(self._shared, "stop"), "w", encoding="ascii"):
                pass
        code = self._until_ended()
        if code != 0:
            raise ServerError(
                f"What was recovered did not shut down cleanly (exit code {code}). {last_words(self._log)}"
            )
        self._forget()
        return {
            "system_id": landed["system_id"],
            "lsn": landed["lsn"],
            "timeline": int(landed["segment"][:8], 16),
            "commit_time": landed["time"],
            "isolated": self.isolated,
        }

    @property
    def _log(self) -> str:
        return os.path.join(self._shared, "log")

    def _ended(self) -> Optional[int]:
        with (
            contextlib.suppress(OSError, ValueError),
            open(os.path.join(self._shared, "ended"), encoding="ascii") as stream,
        ):
            return int(stream.read())
        return None

    def _until_ended(self) -> int:
        while (code := self._ended()) is None:
            self._show()
            time.sleep(0.1)
        return code

    def _land(self) -> dict[str, Any]:
        """Where it landed, once it has. It answers nobody before (hot_standby is off)."""
        while True:
            self._show()
            row = self._ask()
            if row is not None:
                return row
            code = self._ended()
            if code is not None:
                raise ServerError(
                    f"The recovery failed: the server ended with exit code {code}. {last_words(self._log)}{way_out(self._log)}"
                )
            time.sleep(0.2)

    def _ask(self) -> Optional[dict[str, Any]]:
        """What it came to; None: it does not answer yet. Raises ServerError: nobody of a name that is known here may ask it, ever."""
        import psycopg2

        refused: list[str] = []
        for way in list(self._ways):
            try:
                with self._connection(*way) as connection:
                    if facts.value(connection, "SELECT pg_is_in_recovery()"):
                        return None
                    row = facts.rows(connection, _LANDED)[0]
                    self._size = SegmentSize(facts.wal_segment_size(connection))
            except psycopg2.Error as exc:
                refused.append(" ".join(str(exc).split()))
                continue
            self._ways = [way]
            moment = row["time"]
            return {**row, "time": f"{moment.isoformat()}Z" if moment is not None else None}
        # Of roles it speaks only once it takes connections; its messages are English (lc_messages).
        if all("does not exist" in one for one in refused):
            raise ServerError(
                f"It was recovered, and has no role {' or '.join(dict.fromkeys(user for user, _database in self._ways))}, as which it could be looked at. Name "
                f"a superuser of it (login_user). {refused[0]}"
            )
        return None

    @contextlib.contextmanager
    def _connection(self, user: str, database: str) -> Iterator[Connection]:
        import psycopg2

        options = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
        connection = psycopg2.connect(host=self._shared, port=PORT, user=user, dbname=database, options=options)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def _look(self, landed: Mapping[str, Any]) -> None:
        user, database = self._ways[0]
        runs = self._fetched()
        if runs and landed["lsn"] is None:
            # It stands in a data directory whose recovery had ended: nothing says any more whether that was where it was to end.
            raise ServerError(
                "It was recovered by a run before, whose end was not taken, and how far that came is not known any more: it is not used. Its data has to be "
                "laid out anew."
            )
        archive = Archive(Coverage(), Timelines({}), self._size)
        self.proof.add(where_it_landed(landed["lsn"], landed["time"], self._target, runs, archive))
        self.proof.add(server_is_whole(lambda name: self._connection(user, name), database, self._data, False))
        self.proof.require("What was recovered is not whole, and is not used.")
        if self._amcheck == "none":
            self.proof.unproven.append("That nothing in it is corrupt was not looked at.")
            return
        self.proof.add(
            nothing_is_corrupt(lambda name: self._connection(user, name), database, self._amcheck, self._check_time)
        )
        self.proof.require(
            "What was recovered is not used, as amcheck finds it corrupt. Use a backup from before (backup_id); or, where the server had that before "
            "too, take it by amcheck: none, and mend it then (REINDEX, for an index)."
        )

    def _isolate(self, own: Mapping[str, str]) -> None:
        """What it could reach of, or beside, the server that it comes from is switched off before anybody starts it."""
        user, database = self._ways[0]
        off = subscriptions(lambda name: self._connection(user, name), database, False)
        with self._connection(user, database) as connection:
            files = {str(row["name"]): str(row["setting"]) for row in facts.rows(connection, _CONFIGURED)}
            major = connection.server_version // 10000
        # Whom it waits for may also be said where this pod does not look, as in a ConfigMap: it never waits for anybody.
        found = {"synchronous_standby_names": "*", **files}
        off += measures(major, False, False, "promote", found)
        self._settings = {**{one.what: one.value for one in off if one.value is not None}, **own}
        self.isolated = [f"{one.what}: {one.why}" for one in off if one.what not in own]
        self.proof.unproven += reachable(lambda name: self._connection(user, name), database)

    def _fetched(self) -> list[Run]:
        """The segments that were laid out for it, the last one's timeline alone."""
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = sorted(
                name
                for name in os.listdir(os.path.join(self._data, fetched.DIRECTORY))
                if re.fullmatch("[0-9A-F]{24}", name)
            )
        found = [self._size.parse(name, "segment") for name in names]
        last = [one for one in found if one.timeline == found[-1].timeline]
        return [Run(last[0].timeline, last[0].number, last[-1].number)] if last else []

    def _forget(self) -> None:
        """What steered the recovery has done its work, and would steer the next one."""
        fetched.forget(self._data)
        path = os.path.join(self._data, AUTO)
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = rewrite(stream.read(), self._settings)
        with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(f"{path}.new", path)
        os.sync()

    def _show(self) -> None:
        """What the server said, for whoever reads the pod's log."""
        with contextlib.suppress(OSError), open(self._log, encoding="utf-8", errors="replace") as stream:
            stream.seek(self._shown)
            text = stream.read()
            self._shown = stream.tell()
            sys.stdout.write(text)
            sys.stdout.flush()


def message(content: Mapping[str, Any]) -> str:
    """As much as a pod's last message holds: sentences are cut, then left out, the figures never."""
    told = {
        key: [one[:_SENTENCE] for one in value] if isinstance(value, list) else value for key, value in content.items()
    }
    while len(text := json.dumps(told)) > _MESSAGE:
        longest = max(
            (key for key in told if told[key] and isinstance(told[key], list)),
            key=lambda key: len(str(told[key])),
            default="",
        )
        if not longest:
            return json.dumps({**told, "error": str(told.get("error"))[: _MESSAGE // 4]})
        told[longest] = told[longest][:-1]
    return text


def main() -> int:
    """Exit code 0: it came to its target, is whole, and is down."""
    environment = os.environ
    watch = Watch(
        environment["SHARED"],
        environment["PGDATA"],
        environment["SUPERUSERS"].split(),
        Target.from_option(json.loads(environment["TARGET"])),
        json.loads(environment["BESIDE"]) if "BESIDE" in environment else None,
        environment.get("AMCHECK", "none"),
        float(environment.get("CHECK_TIME", "0")),
    )
    said: dict[str, Any] = {}
    try:
        said = watch.run()
    except HoldfastError as exc:
        said = {"error": str(exc)[: _MESSAGE // 2]}
    said.update(watch.proof.describe())
    text = message(said)
    with (
        contextlib.suppress(OSError),
        open(environment.get("MESSAGE", "/dev/termination-log"), "w", encoding="utf-8") as stream,
    ):
        stream.write(text)
    sys.stdout.write(f"{text}\n")
    return 1 if "error" in said else 0


if __name__ == "__main__":
    raise SystemExit(main())
