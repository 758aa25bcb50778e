# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed while a dump was loaded: what the user allowed to, and the way out of what many meet. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

# pg_restore's own words, which LC_ALL=C keeps English; what the server says stands behind them, in its language.
_ERROR = re.compile(r"^pg_restore: error: *(.*)$", re.MULTILINE)
# What it was about then: "from TOC entry 215; 1259 16386 TABLE orders postgres"
_ENTRY = re.compile(r"^pg_restore: from TOC entry (.*)$", re.MULTILINE)


class Failures:
    """Hears every error. ``allow_errors``: parts of messages that the user allowed."""

    def __init__(self, allow_errors: Sequence[str]) -> None:
        self._allow_errors = allow_errors
        #: errors that the user allowed
        self.allowed: list[str] = []
        self._entries: list[str] = []

    def forget(self) -> None:
        """What was heard so far."""
        self.allowed, self._entries = [], []

    def explain(self, table: str) -> bool:
        """Whether something that was allowed to fail names a table: then it may lack rows, or be missing."""
        name = re.compile(rf"(?<![\w$]){re.escape(table)}(?![\w$])")
        return any(name.search(text) for text in (*self.allowed, *self._entries))

    def heed(self, messages: str) -> None:
        """What pg_restore said. Raises what ``judge`` does."""
        self.judge(_ERROR.findall(messages))
        self._entries += _ENTRY.findall(messages)

    def judge(self, errors: list[str]) -> None:
        """Raises ToolError for those that the user did not allow."""
        bad = [line for line in errors if not self.is_allowed(line)]
        if bad:
            raise ToolError(f"{len(bad)} statements failed: {'; '.join(bad[:5])}{hint(bad)}.")
        self.allowed += errors

    def is_allowed(self, error: str) -> bool:
        """Whether the user allowed it."""
        return any(kind in error for kind in self._allow_errors)


def details(messages: str) -> str:
    """What psql told in detail."""
    found = re.findall(r"^DETAIL:\s+(.*)$", messages, re.MULTILINE)
    return f"({'; '.join(found[:3])})." if found else ""


# What many meet: a part of the errors, and the way out. The server's words are in English where who restores is a superuser; codes are in
# any language, and only scripts have them.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"hypertable|_timescaledb_",
        "Hypertables of TimescaleDB come back only by hand: in an empty database with the same version of the extension, between "
        "SELECT timescaledb_pre_restore() and SELECT timescaledb_post_restore(), or with a copy of the whole server (pg_recover)",
    ),
    (
        r"relation \"(part_config\w*|job|job_run_details)\" (violates not-null constraint|does not exist)",
        "The extension had another version where the dump was made, with other columns: install that one (CREATE EXTENSION … VERSION) in an empty "
        "database, name it as template, and update it afterwards",
    ),
    (
        r"unrecognized configuration parameter|42704.*configuration parameter",
        "The dump sets what this server's version does not know: let that fail by allow_errors: ['unrecognized configuration parameter']",
    ),
    (
        r"role .* does not exist",
        "Roles that the dump names are not there: restore them first, or use no_owner and no_privileges, or role_map",
    ),
    (
        r"default_tablespace|tablespace .* does not exist",
        "A tablespace that the dump names is not there: make it first, or set no_tablespaces: true",
    ),
    (
        r"must be owner of extension",
        "Only its owner may say that of an extension, and a managed server owns it itself: let it fail by allow_errors: ['must be owner of "
        "extension']",
    ),
    (
        r"must be owner of schema public|permission denied for schema public",
        "On this server the schema public belongs to somebody else: make an empty database whose owner is login_user, or let it fail by "
        "allow_errors: ['schema public']",
    ),
    (
        r"permission denied to create (event trigger|extension)|must be superuser to create",
        "Only a superuser may make that: restore as one, or let it fail by allow_errors with these words",
    ),
    (
        r"invalid byte sequence for encoding|22021:|has no equivalent in encoding|22P05:",
        "Texts of the dump are in another encoding than the database's: choose that of the former one by encoding: (with locale: C, such as "
        "encoding: SQL_ASCII)",
    ),
    (
        r"(function|operator) .*(anyarray|anyelement).* does not exist",
        "PostgreSQL 14 renamed the types of arguments of array functions (anyarray became anycompatiblearray): drop the aggregates and operators "
        "that are built upon them in the source, dump anew, and make them again afterwards, or let it fail by allow_errors",
    ),
    (
        r"(type|function|operator class|access method|text search configuration) .* does not exist|42883:",
        "A dump of parts (pg_dump --schema, --table) lacks the extensions that its tables need, and functions find nothing by search_path, which "
        "is empty while a dump is restored. For the first: make a database with the extensions and name it as template; for the second, in a "
        "materialized view: let it fail by allow_errors, and REFRESH it afterwards",
    ),
    (
        r"out of shared memory|53200:",
        "So many tables, or partitions, want more locks than the server has: raise its max_locks_per_transaction (a restart), or restore fewer "
        "parts at once",
    ),
    (
        r"could not extend file|No space left on device|53100:",
        "The disk of the server's tablespace, of its WAL or of its temporary files is full: free space, or put the database elsewhere "
        "(tablespace); what this run had made is removed",
    ),
    (
        r"remaining connection slots|too many clients|53300:",
        "The server has no connection left for this: use fewer jobs, or end sessions that idle",
    ),
    (
        r"value too long for type character|22001:",
        "In UTF-8 a text can have more bytes, and in another encoding other characters: choose that of the former database by encoding: (with "
        "locale: C, such as encoding: SQL_ASCII)",
    ),
    (
        r"could not create unique index|duplicate key value violates unique constraint|23505:",
        "The source has rows twice, which its own index did not see: it was damaged there, most often by a change of collations (an upgrade of the "
        "system's libc or ICU). Look in the source (amcheck, REINDEX), mend the rows, dump anew; or let the index fail by allow_errors, and "
        "mend them here",
    ),
    (
        r"must be marked IMMUTABLE|generation expression is not immutable|42P17:",
        "A function in an index or a generated column is not what it claimed to be when the column was made: mark it IMMUTABLE in the source, with "
        "a search_path of its own (ALTER FUNCTION … SET search_path), and dump anew",
    ),
    (
        r"server closed the connection unexpectedly|SSL SYSCALL error|could not receive data from server|08006:|57P0[12]:",
        "The connection was lost: did the server stop (its log says why; out of memory, often), or does a firewall between end what is quiet? "
        "Then give connect_params: {keepalives_idle: 60, keepalives_interval: 10}",
    ),
    (
        r"violates foreign key constraint|23503:",
        "Rows come before those that they refer to: for data_only set disable_triggers: true (as a superuser)",
    ),
)  # fmt: skip


def hint(errors: list[str]) -> str:
    """The way out of errors that many meet; empty, or begins with a full stop."""
    text = " ".join(errors)
    return next((f". {way_out}" for pattern, way_out in _HINTS if re.search(pattern, text)), "")
