# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which statements of a script reach beyond the database that it is run in. Pure.

Statements are told apart by their first words, as the server's grammar does. What a function or a DO block does when it runs is not
seen: a script has the rights of who runs it, and the documentation of pg_restore says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Statement

_MOST = 200  # words that are looked at, but for COPY and SELECT

_READ = "changes how the rest of the script is read"

# (of the whole server?, the statement's beginning, what it does). Of the whole server: a script of a cluster has such.
_TABLE: tuple[tuple[bool, str, str], ...] = (
    (True, r"(create|alter|drop) (role|user|group) (?!mapping\b)", "makes or changes a role"),
    (True, r"(create|alter|drop) tablespace ", "makes or changes a tablespace"),
    (True, r"comment on (role|tablespace) ", "comments on a role or tablespace"),
    (True, r"security label (for \S+ )?on (role|tablespace) ", "labels a role or tablespace"),
    (True, r"(grant|revoke) .* on (tablespace|parameter) ", "grants what belongs to the whole server"),
    (True, r"(grant|revoke) (?!.* on ).* (to|from) ", "makes a role a member of another"),
    (True, r"(drop|reassign) owned ", "drops or gives away what a role owns, everywhere"),
    (False, r"alter system ", "changes the server's configuration"),
    (False, r"load ", "loads a library into the server"),
    (False, r"(prepare transaction|commit prepared|rollback prepared) ", "works with prepared transactions"),
    (False, r"(rollback|abort)\b(?! (work |transaction )?to )", "takes back what it did before"),
    (False, r"import foreign schema ", "reads from another server"),
    (False, r"alter subscription \S+ (?!owner to |rename to |set \( (?:\S+ )*?\))", "steers replication"),
    (False, r"(insert into|update|delete from) (only )?(pg_catalog \. )?pg_(?!temp)", "changes system catalogs by hand"),
    (False, r"(reset (all|standard_conforming_strings|client_encoding)|discard all) ", _READ),
    (False, r"set (session |local )?(standard_conforming_strings|client_encoding) (to|=) default ", _READ),
    (False, r"truncate (table )?(only )?(pg_catalog \. )", "changes system catalogs by hand"),
)  # fmt: skip
_COMPILED = [(whole, re.compile(pattern), what) for whole, pattern, what in _TABLE]

# Functions that reach out when they are called. Where one is only spoken of (a view, a default) nothing happens yet.
_CALLS = re.compile(
    r"\b(lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_file_\w+|pg_ls_\w+|pg_stat_file|dblink\w*|pg_reload_conf"
    r"|pg_rotate_logfile|pg_terminate_backend|pg_cancel_backend|pg_promote|pg_switch_wal|pg_create_restore_point|pg_drop_\w*slot"
    r"|pg_create_\w*slot|pg_copy_\w*slot|pg_replication_\w+|pg_wal_replay_\w+|pg_backup_\w+|schedule_in_database"
    r"|pg_execute_server_program) \("
)
_STEERS = re.compile(r"\bset_config \( '(standard_conforming_strings|client_encoding|role|session_authorization)'")

_OF_DATABASE = re.compile(
    r"(?P<what>create database|drop database(?: if exists)?|alter database|comment on database"
    r"|security label (?:for \S+ )?on database|alter (?:role|user) .+? in database"
    r"|(?:grant|revoke) .+? on database) (?=\S)"
)


@dataclass(frozen=True)
class OfDatabase:
    """A statement about a database itself. ``name``: the number of the token that names it."""

    what: str
    name: int


def of_database(statement: Statement) -> Optional[OfDatabase]:
    """Whether a statement is about a database as such, rather than about what is in it."""
    words = statement.words[:_MOST]
    if not words or words[0] not in ("create", "drop", "alter", "comment", "security", "grant", "revoke"):
        return None
    if "database" not in words[1:]:
        return None
    found = _OF_DATABASE.match(" ".join(word.replace(" ", "_") for word in words) + " ")
    if found is None:
        return None
    what = found.group("what").split(" ")
    short = " ".join(what[:2]) if what[1] == "database" else " ".join((what[0], "…", *what[-2:]))
    return OfDatabase(short, len(what))


def beyond(statement: Statement, cluster: bool = False) -> Optional[str]:
    """What a statement does outside of the database that it runs in; None: nothing that can be seen.

    ``cluster``: roles, tablespaces and their like may be made: the script is one of a whole cluster.
    """
    words = statement.words
    if not words:
        return None
    if words[0] == "copy":
        return _copy(words)
    if words[:2] == ["create", "subscription"]:
        return None if _without_connecting(words) else "connects to another server and subscribes to it"
    text = " ".join(word.replace(" ", "_") for word in words[:_MOST]) + " "
    for whole, pattern, what in _COMPILED:
        if pattern.match(text) and not (whole and cluster):
            return what
    if words[:2] == ["drop", "subscription"]:
        return None if words[2:4] == ["if", "exists"] else "ends a subscription, at its publisher too"
    if words[0] not in ("create", "alter", "comment", "drop"):
        text = " ".join(words) + " "
        called = _CALLS.search(text)
        if called:
            return f"calls {called.group(1)}"
        if _STEERS.search(text):
            return _READ
    return None


def _copy(words: list[str]) -> Optional[str]:
    depth = 0
    for number, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if word in ("from", "to") and not depth and number > 1:
            other = words[number + 1] if number + 1 < len(words) else ""
            if other == "program":
                return "runs a program on the server"
            if other not in ("stdin", "stdout"):
                return "reads or writes a file of the server"
            return None
    return None


def _without_connecting(words: list[str]) -> bool:
    """pg_dump makes subscriptions that do nothing until somebody enables them."""
    for number, word in enumerate(words):
        if word == "connect":
            value = words[number + 1 : number + 3]
            return value[:1] == ["="] and value[1].strip("'").lower() in ("false", "off", "0")
    return False
