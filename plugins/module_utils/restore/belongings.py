# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database is more than its tables: what hangs on its name or its oid, and what becomes of it when another one takes its name.

The one list. A restore in place makes a new database and gives it the old one's name; of what belonged to the old one

=============================================  ======================================================================================
contents: extensions, publications, event      come from the dump; publications that the dump lacks are named, and extensions of which
triggers, statistics, default privileges,      somebody else was the owner (who restores owns them, SQL cannot change that)
trigger states, comments, labels
owner, privileges, settings (also of roles     from the backup, differences named; a foreign dump knows none: as they are
in it), connection limit, comment, template,   (properties.py)
ALLOW_CONNECTIONS, tablespace
security labels on the database                handed over
logical replication slots                      consent; made anew under their names, at the position of the restore
subscriptions                                  consent; the old ones are taken off their slots, the restored ones stay disabled
prepared transactions                          refused: they hold the database by its oid
jobs of pg_cron of other databases,            hold its name: kept. pg_cron's own database can have no other name: it is built under it
postgres_fdw servers, pg_hba.conf
statistics of statements and of tables         hold its oid: begin anew, named
advisory locks, temporary slots                end with their sessions
=============================================  ======================================================================================
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

_SLOTS = """
SELECT slot_name AS name, plugin, active, coalesce((to_jsonb(s) ->> 'two_phase')::bool, false) AS two_phase,
       coalesce((to_jsonb(s) ->> 'failover')::bool, false) AS failover
FROM pg_replication_slots s WHERE slot_type = 'logical' AND NOT temporary AND database = %s ORDER BY 1
"""
_SUBSCRIPTIONS = """
SELECT subname AS name, subenabled AS enabled, subslotname::text AS slot FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1
"""
_LABELS = """
SELECT provider, label FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass
AND objoid = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1
"""
_OWNERS = """
SELECT extname AS name, pg_get_userbyid(extowner)::text AS owner FROM pg_extension ORDER BY 1
"""
_SLOT_SECONDS = 60  # making a slot waits for transactions that run, in every database


@dataclass
class Belongings:
    """What hangs on a database that another one is going to replace."""

    database: str
    slots: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    publications: list[str] = field(default_factory=list)
    extension_owners: dict[str, str] = field(default_factory=dict)
    statements: bool = False
    #: why nobody could look into it: publications and owners of extensions are not known then
    unseen: Optional[str] = None

    def plan(self) -> list[str]:
        """What becomes of it, as lines of the plan."""
        steps = [
            f"make the logical slot {slot['name']!r} ({slot['plugin']}) of {self.database!r} anew: who reads from it must copy the tables "
            "afresh"
            for slot in self.slots
        ]
        steps += [
            f"take the subscription {item['name']!r} of {self.database!r} off its slot {item['slot']!r}; the restored one stays disabled"
            for item in self.subscriptions
        ]
        return steps

    def judge(self, agreed: bool, consent: Consent) -> None:
        """Refuse what would break unasked, and what cannot be. ``agreed``: what the option break_replication says.

        Raises:
            ServerError: prepared transactions.
            BadOption: slots or subscriptions, and nobody agreed.
        """
        if self.prepared:
            raise ServerError(
                f"The database {self.database!r} has prepared transactions ({', '.join(map(repr, self.prepared[:5]))}): it cannot step "
                "aside while they are open. COMMIT PREPARED or ROLLBACK PREPARED them in it first. Nothing was touched."
            )
        hanging = [f"the logical slot {slot['name']!r}" for slot in self.slots]
        hanging += [f"the subscription {item['name']!r}" for item in self.subscriptions]
        if hanging and not agreed:
            refusal = BadOption(
                "break_replication", False, f"protects what hangs on {self.database!r}: {', '.join(hanging)}",
                "A slot would be made anew, and who reads from it has to copy the tables afresh; a subscription would stay disabled in "
                "the restored database, and its tables have to be copied afresh. If that is right set break_replication: true "
                "(holdfast_restore_break_replication), or restore under another name by target_db.",
            )  # fmt: skip
            consent.need(refusal, break_replication=True)

    def unproven(self) -> list[str]:
        """What nobody can say of the restored database, as the old one could not be looked into."""
        if self.unseen is None:
            return []
        return [
            f"Whether {self.database!r} had publications, and extensions of other owners, that it now lacks is not known: the old one could not "
            f"be looked into ({self.unseen})."
        ]

    def lost(self, server: TargetServer) -> list[str]:
        """What the restored database, now under its name, does not have any more."""
        plan = []
        with contextlib.closing(server.address.connect(self.database)) as connection:
            there = {row["name"] for row in rows(connection, "SELECT pubname AS name FROM pg_publication")}
            owners = {row["name"]: row["owner"] for row in rows(connection, _OWNERS)}
        for name in self.publications:
            if name not in there:
                plan.append(
                    f"The publication {name!r} of {self.database!r} is not in the backup: who subscribed to it gets nothing."
                )
        for name, owner in self.extension_owners.items():
            if owners.get(name, owner) != owner:
                plan.append(
                    f"The extension {name!r} in {self.database!r} belongs to {owners[name]!r} now, before to {owner!r}."
                )
        if self.statements:
            plan.append(f"pg_stat_statements begins anew for {self.database!r}.")
        return plan


def survey(server: TargetServer, name: str) -> Belongings:
    """Look for all that hangs on a database."""
    import psycopg2

    connection = server.connection
    found = Belongings(name)
    found.slots = rows(connection, _SLOTS, [name])
    found.subscriptions = rows(connection, _SUBSCRIPTIONS, [name])
    found.prepared = [
        row["gid"] for row in rows(connection, "SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name])
    ]
    found.labels = rows(connection, _LABELS, [name])
    loaded = value(connection, "SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'")
    found.statements = "pg_stat_statements" in str(loaded)
    if not server.is_open(name):
        found.unseen = "it takes no connections"
        return found
    try:
        with contextlib.closing(server.address.connect(name)) as inside:
            found.publications = [row["name"] for row in rows(inside, "SELECT pubname AS name FROM pg_publication")]
            found.extension_owners = {row["name"]: row["owner"] for row in rows(inside, _OWNERS)}
    except (ServerError, psycopg2.Error) as exc:
        found.unseen = " ".join(str(exc).split()).rstrip(". ")
    return found


def hand_over_labels(server: TargetServer, found: Belongings, new: str) -> list[str]:
    """Security labels of the database itself. Returns what was lost, in words."""
    from psycopg2 import sql

    lost = []
    for label in found.labels:
        statement = sql.SQL("SECURITY LABEL FOR {} ON DATABASE {} IS {}").format(
            sql.Identifier(label["provider"]), sql.Identifier(new), sql.Literal(label["label"])
        )
        try:
            server.run(statement, f"set the security label of {label['provider']}")
        except ServerError as exc:
            lost.append(f"The security label of {found.database!r} ({label['provider']}): {exc}")
    return lost


def hand_over_replication(server: TargetServer, found: Belongings, old: str) -> list[str]:
    """After ``old`` has stepped aside: its subscriptions and slots. Returns what was lost, and what is to be done, in words."""
    lost = []
    if found.subscriptions:  # it may have been closed, to keep sessions out of it
        server.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", old)
    for item in found.subscriptions:
        lost += _subscription(server, found.database, old, item)
    for slot in found.slots:
        lost += _slot(server, found.database, slot)
    return lost


def _subscription(server: TargetServer, name: str, old: str, item: dict[str, Any]) -> list[str]:
    """The old one would go on receiving into a database that nobody uses, and hold the slot: it goes, the slot at the publisher stays."""
    import psycopg2
    from psycopg2 import sql

    quoted = sql.Identifier(item["name"])
    try:
        with contextlib.closing(server.address.connect(old)) as connection, connection.cursor() as cursor:
            for statement in (
                "ALTER SUBSCRIPTION {} DISABLE",
                "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                "DROP SUBSCRIPTION {}",
            ):
                cursor.execute(sql.SQL(statement).format(quoted))
    except (psycopg2.Error, ServerError) as exc:
        return [
            f"The subscription {item['name']!r} could not be taken off its slot in {old!r}: {' '.join(str(exc).split())}"
        ]
    return [
        f"The subscription {item['name']!r} of {name!r} is disabled (or not in the backup): what was published since the backup is not in it. "
        f"Its slot {item['slot']!r} still holds WAL at the publisher. Either empty its tables, ALTER SUBSCRIPTION … ENABLE, and "
        "… REFRESH PUBLICATION WITH (copy_data = true) after dropping and making it anew, or drop that slot."
    ]


def _slot(server: TargetServer, name: str, slot: dict[str, Any]) -> list[str]:
    import psycopg2

    arguments: dict[str, Any] = {"slot_name": slot["name"], "plugin": slot["plugin"]}
    for option in ("two_phase", "failover"):
        if slot[option]:
            arguments[option] = True
    text = ", ".join(f"{key} => %({key})s" for key in arguments)
    try:
        with contextlib.closing(server.address.connect(name)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{_SLOT_SECONDS}s'")
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                [slot["name"]],
            )
            cursor.execute(f"SELECT lsn::text FROM pg_create_logical_replication_slot({text})", arguments)
            (lsn,) = cursor.fetchone()  # type: ignore[misc]
    except (psycopg2.Error, ServerError) as exc:
        return [f"The logical slot {slot['name']!r} could not be made anew in {name!r}: {' '.join(str(exc).split())}"]
    return [
        f"The logical slot {slot['name']!r} of {name!r} was made anew and begins at {lsn}: who reads from it must copy the tables afresh."
    ]


_NAME_HOLDERS = """
WITH RECURSIVE direct AS (
    SELECT c.oid FROM pg_class c WHERE c.relkind IN ('m', 'v')
    AND pg_get_viewdef(c.oid) ~* 'current_database\\s*\\(|current_catalog'
), functions AS (
    SELECT oid FROM pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace
    AND coalesce(to_jsonb(pg_proc) ->> 'prosrc', '') ~* 'current_database\\s*\\(|current_catalog'
), holding AS (
    SELECT oid FROM direct
    UNION
    SELECT r.ev_class FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN functions f ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
    UNION
    SELECT r.ev_class FROM holding h
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = h.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid
)
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM holding h JOIN pg_class c ON c.oid = h.oid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid
"""


def name_holders(connection: Any) -> list[str]:
    """Populated materialized views whose rows may hold the database's name (``schema.name``, quoted), those that others need first:
    they use ``current_database()`` themselves, or by a view or a function."""
    return [row["name"] for row in rows(connection, _NAME_HOLDERS)]


def refresh(connection: Any, names: list[str]) -> Optional[str]:
    """Fill materialized views again, under the database's own name. Returns what went wrong, in words."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"REFRESH MATERIALIZED VIEW {name}")
    except psycopg2.Error as exc:
        return f"Materialized views that hold the database's name ({', '.join(names)}) were not all refreshed: {' '.join(str(exc).split())}"
    return None
