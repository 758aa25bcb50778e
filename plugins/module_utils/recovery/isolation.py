# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what a server that is started elsewhere could reach beyond itself: the one list, and what is done about each. Pure but for
what is asked of a server that runs in private.

What steers a recovery is neutralised while it recovers, wherever it stands (postgresql.conf, files that it includes,
postgresql.auto.conf): the last file that a server reads is the one that is written here. What would act, or write, outside is
turned off in a server that stands beside, and in one that takes its old place only where it could not serve otherwise.
Tablespaces, those that replayed WAL would make too, are led elsewhere by directories.py or refused by plan.py.

Sources: https://www.postgresql.org/docs/current/runtime-config-wal.html#RUNTIME-CONFIG-WAL-ARCHIVE-RECOVERY,
https://www.postgresql.org/docs/current/runtime-config-replication.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

#: What steers a recovery, and the value by which it steers none. Targets come first: PostgreSQL takes no second one, not even an
#: empty one, after the one that counts.
STEERING: Mapping[str, str] = {
    "recovery_target": "",
    "recovery_target_name": "",
    "recovery_target_time": "",
    "recovery_target_xid": "",
    "recovery_target_lsn": "",
    "recovery_target_inclusive": "on",
    "recovery_target_timeline": "latest",
    "recovery_target_action": "pause",
    "restore_command": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "promote_trigger_file": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "recovery_min_apply_delay": "0",
}
#: Settings that not every version has: the first that has it, the first that has not any more.
_VERSIONS = {
    "promote_trigger_file": (12, 16),
    "synchronized_standby_slots": (17, None),
    "stats_temp_directory": (9, 15),
    "archive_library": (15, None),
    "event_triggers": (17, None),
}
#: Libraries that do something by themselves once the server runs: jobs, requests, replication, failover.
ACTING = frozenset(
    [
        "bdr",
        "citus",
        "pg_cron",
        "pg_failover_slots",
        "pg_net",
        "pg_partman_bgw",
        "pg_squeeze",
        "pg_statsinfo",
        "pg_task",
        "pgactive",
        "pgautofailover",
        "pglogical",
        "repmgr",
        "spock",
        "vectorize",
    ]
)


@dataclass(frozen=True)
class Isolated:
    """Something by which the server could have reached out: ``what`` it is, its ``value`` now (a setting's; None: it is no setting),
    ``why``, and in words how it is switched on again."""

    what: str
    value: Optional[str]
    why: str
    switch_on: str

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return asdict(self)


def knows(name: str, major: int) -> bool:
    """Whether PostgreSQL of this major version has a setting (of those that are spoken of here)."""
    first, gone = _VERSIONS.get(name, (0, None))
    return major >= first and (gone is None or major < gone)


def neutral(major: int) -> dict[str, str]:
    """Every setting that steers a recovery, with the value by which it steers none."""
    return {name: value for name, value in STEERING.items() if knows(name, major)}


def without_acting(libraries: str) -> tuple[str, list[str]]:
    """shared_preload_libraries without those that act by themselves, and these."""
    names = [name.strip().strip('"') for name in libraries.split(",") if name.strip()]
    acting = [name for name in names if name.rpartition("/")[2].partition(".so")[0] in ACTING]
    return ", ".join(name for name in names if name not in acting), acting


def measures(major: int, in_place: bool, keep_archiving: bool, action: str, found: Mapping[str, str]) -> list[Isolated]:
    """What is set in the restored server. ``found``: what its configuration says, by name; what is not in it has its default.
    ``in_place``: it takes the place of the server that it was."""
    taken: list[Isolated] = []

    def switch(name: str, value: str, why: str) -> None:
        if knows(name, major):
            how = (
                f"ALTER SYSTEM SET {name} = {_literal(name, found[name])}"
                if name in found
                else f"ALTER SYSTEM RESET {name}"
            )
            taken.append(Isolated(name, value, why, how))

    if not keep_archiving:
        switch("archive_mode", "off", "it would write into the archive of the server that it comes from")
    for name in ("synchronous_standby_names", "synchronized_standby_slots"):
        if found.get(name):
            switch(name, "", "every write would wait for standbys that do not follow this server")
    if action == "pause" and found.get("hot_standby", "on").lower() in ("off", "false", "no", "0"):
        switch("hot_standby", "on", "it would shut down at the target, instead of pausing there")
    if in_place:
        return taken
    switch("listen_addresses", "localhost", "clients of the server that it comes from might find it")
    if found.get("external_pid_file"):
        switch("external_pid_file", "", "it would overwrite the file of the server that it comes from")
    if _outside(found.get("log_directory", "log")):
        switch("log_directory", "log", "it would write into the log files of the server that it comes from")
    if _outside(found.get("stats_temp_directory", "pg_stat_tmp")):
        switch(
            "stats_temp_directory", "pg_stat_tmp", "it would overwrite the statistics of the server that it comes from"
        )
    left, acting = without_acting(found.get("shared_preload_libraries", ""))
    if "timescaledb" in found.get("shared_preload_libraries", ""):
        switch("timescaledb.max_background_workers", "0", "its jobs would begin to run")
    if acting:
        switch("shared_preload_libraries", left, f"{', '.join(acting)} would begin to work: run jobs, or call others")
    if found.get("ssl_passphrase_command"):
        switch("ssl_passphrase_command", "", "it is a program that would run")
        switch("ssl", "off", "its key cannot be read without the program")
    if action != "promote":
        switch(
            "max_logical_replication_workers", "0", "its subscriptions would fetch what is meant for the live server"
        )
    return taken


def _outside(path: str) -> bool:
    """Whether a path of the configuration leads out of the data directory; two that lie side by side have one parent."""
    return os.path.isabs(path) or os.path.normpath(path).split(os.sep)[0] == os.pardir


def _literal(name: str, value: str) -> str:
    """A value for ALTER SYSTEM. In this list each name is quoted by itself: as one text it would be one library's name."""
    parts = [part.strip() for part in value.split(",")] if name == "shared_preload_libraries" else [value]
    return ", ".join("'" + part.replace("'", "''") + "'" for part in parts)


_SUBSCRIPTIONS = (
    "SELECT s.oid::bigint AS oid, d.datname AS database, s.subname AS name, quote_ident(s.subname) AS quoted"
    " FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE s.subenabled ORDER BY 1, 2"
)
_FOREIGN = (
    "SELECT s.srvname AS name, w.fdwname AS wrapper FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw"
    " WHERE w.fdwname <> 'file_fdw' ORDER BY 1"
)
#: how each sentence on a foreign server begins that a query would reach
REACHABLE = "The foreign server"
_OPEN = "SELECT datname AS name FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1"


def subscriptions(connect: Connect, database: str, in_place: bool) -> list[Isolated]:
    """Disable every subscription of a server that stands beside, is a primary and runs in private: enabled, it would take the live
    one's slot. In its old place they stay as they are.

    Raises:
        ServerError: one is still enabled.
    """
    if in_place:
        return []
    with connect(database) as connection:
        enabled = facts.rows(connection, _SUBSCRIPTIONS)
    for row in enabled:
        _disable(connect, database, row)
    return [
        Isolated(
            f"subscription {row['name']!r} in {row['database']!r}",
            None,
            "it would take over the slot of the live subscriber, which would lose rows for ever",
            f"ALTER SUBSCRIPTION {row['quoted']} ENABLE (in {row['database']!r}, with a slot of its own)",
        )
        for row in enabled
    ]


def _disable(connect: Connect, database: str, row: Mapping[str, Any]) -> None:
    """Disable a subscription; ``database`` is one that takes connections. Raises ServerError."""
    import psycopg2

    try:
        try:
            with connect(row["database"]) as connection, connection.cursor() as cursor:
                cursor.execute(f"ALTER SUBSCRIPTION {row['quoted']} DISABLE")
        except psycopg2.Error:
            # Its database takes no connections, or an event trigger forbids it. All databases share this catalogue, and nobody else is here.
            with connect(database) as connection, connection.cursor() as cursor:
                cursor.execute("UPDATE pg_catalog.pg_subscription SET subenabled = false WHERE oid = %s", [row["oid"]])
    except psycopg2.Error as exc:
        raise ServerError(
            f"The subscription {row['name']!r} in {row['database']!r} could not be disabled, and would take the slot of the live subscriber: "
            f"{' '.join(str(exc).split())} Recover it without subscriptions at work: settings: {{max_logical_replication_workers: 0}}."
        ) from exc


def reachable(connect: Connect, database: str) -> list[str]:
    """What a query in this server would reach, and nothing is done about: sentences."""
    import psycopg2

    found = []
    with connect(database) as connection:
        names = [row["name"] for row in facts.rows(connection, _OPEN)]
    for name in names:
        try:
            with connect(name) as connection:
                servers = facts.rows(connection, _FOREIGN)
        except psycopg2.Error as exc:
            found.append(
                f"Which foreign servers a query in {name!r} would reach is not known: {' '.join(str(exc).split())}"
            )
            continue
        found += [
            f"{REACHABLE} {row['name']!r} ({row['wrapper']}) in {name!r} is as it was: a query of this server reaches it."
            for row in servers
        ]
    return found
