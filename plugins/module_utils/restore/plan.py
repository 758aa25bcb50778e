# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore of databases would do, decided by reads alone: what is wanted, what is done already, how each one is made."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.add import Adder
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.agreed import (
    need_confirm,
    need_sessions_ended,
    need_signature,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.archive import ArchiveReader
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.belongings import Belongings, survey
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.evidence import definitions, measure
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load import check_plain
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.parts import Addition
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.properties import (
    Design,
    changes_of,
    check_locale,
    design,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.roles import map_acl
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import Source
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

#: how a database is made: parts of it into the one that is there; under its own name, where none is; beside the one that is there,
#: which then steps aside; under its own name after that one has stepped aside; in place of one that can only be dropped
ADD, NEW, BESIDE, ASIDE, INVALID = "add", "new", "beside", "aside", "invalid"

_UNAVAILABLE = '0A000: extension "%s" is not available'  # the server's words


@dataclass
class Step:
    """One database that is going to be restored. ``there`` is the one of its name, ``empty`` whether that has no objects."""

    dump: Dump
    name: str
    mode: str
    design: Design
    there: Optional[dict[str, Any]]
    empty: bool
    belongings: Belongings
    why: str = ""
    addition: Optional[Addition] = None
    #: who is in it, in words
    sessions: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether there is something that somebody has to agree to lose."""
        return self.there is not None and not self.empty

    def describe(self, source: str, since: Optional[str] = None, keep_old: bool = False) -> list[str]:
        """The step as lines of the plan, with what becomes of what hangs on the database. ``since``: the time of a backup; ``keep_old``: what
        was there stays beside."""
        of = self.dump.described if self.dump.origin else f"{self.dump.database!r} of {source}"
        line = {
            ADD: f"restore the chosen parts of {of} into {self.name!r}, in one transaction",
            NEW: f"restore {of} as the new database {self.name!r}",
            BESIDE: f"restore {of} beside {self.name!r}, check it, and put it in its place",
            ASIDE: f"move {self.name!r} aside, restore {of} under its name, and move it back if that fails: it cannot be built under "
            f"another name ({self.why}), and is not there meanwhile",
            INVALID: f"restore {of} beside {self.name!r}, check it, drop {self.name!r}, which a DROP DATABASE left that was "
            "interrupted (nobody can connect to it), and put it in its place",
        }[self.mode]
        steps = [", ".join([line, *self.design.notes])]
        if self.addition:
            steps += self.addition.plan(self.name)
        if self.mode != ADD:
            steps += self.belongings.plan()
            if self.there and self.full:
                steps += [f"{self.name!r}: {change}" for change in changes_of(self.there, self.design)]
            if self.sessions:
                steps.append(f"end who is connected to {self.name!r}: {'; '.join(self.sessions[:5])}")
            if self.full and self.mode != INVALID:
                newer = f"what was written into it since {since}" if since else "what is in it and not in the dump"
                steps.append(
                    f"keep what is in {self.name!r} now, under another name"
                    if keep_old
                    else f"drop what is in {self.name!r} now: {newer} is lost"
                )
        return steps


class Planner:
    """Decides, by reads of the source and the server alone."""

    def __init__(
        self,
        source: Source,
        target: TargetServer,
        adder: Adder,
        archive: ArchiveReader,
        options: RestoreOptions,
        log: RestoreLog,
        system_id: Optional[str],
    ) -> None:
        self._source, self._target = source, target
        self._adder, self._archive = adder, archive
        self._options, self._log, self._system_id = options, log, system_id
        self.warnings: list[str] = []
        self.unchanged: list[str] = []
        #: what the user has yet to agree to: known after a plan that was made to be looked at
        self.consent = Consent()

    def wanted(self) -> list[tuple[Dump, str]]:
        """The chosen dumps with the names that they get; a cluster's script has none. Raises BadOption."""
        wanted = []
        for dump in self._source.choose(self._options.databases) if self._source.record else self._source.dumps:
            check_plain(dump, self._options)
            name = self._options.target_db or dump.database
            if name is None and not dump.cluster:
                raise BadOption(
                    "databases",
                    [],
                    f"does not say which database {self._source.name} is of",
                    "Name it: databases: [name].",
                )
            if dump.properties and self._options.role_map:
                roles = dict(self._options.role_map)
                owner, acl = dump.properties["owner"], dump.properties.get("acl")
                changed = {"owner": roles.get(owner, owner), "acl": acl and map_acl(acl, roles)}
                dump.properties = {**dump.properties, **changed}
            wanted.append((dump, name or ""))
        return wanted

    def steps(self, wanted: list[tuple[Dump, str]]) -> list[Step]:
        """What is to be done, without what is done already.

        Raises:
            HoldfastError: something would be destroyed unasked, or cannot be.
        """
        self.unchanged, self.warnings = [], [note for dump, _name in wanted for note in dump.notes]
        need_signature(self._source, self._options, self.consent, self.warnings)
        due = [self._step(dump, name) for dump, name in wanted if not self._stands(dump, name)]
        need_confirm(
            [step.name for step in due if step.full], [name for _dump, name in wanted], self._options, self.consent
        )
        for step in due:
            if step.addition:
                step.addition.judge(self._options.break_replication, self.consent)
            if step.mode == ADD:
                continue
            step.belongings.judge(self._options.break_replication, self.consent)
            check_locale(self._target, step.design)
            step.sessions = self._target.sessions(step.name) if step.there else []
            need_sessions_ended(step.name, step.sessions, self._options, self.consent)
        return due

    def _step(self, dump: Dump, name: str) -> Step:
        there = self._target.properties(name)
        empty = there is not None and self._target.is_empty(name)
        mode, why = self._mode(dump, name, there)
        clause = None if dump.properties or mode == ADD else dump.clause
        chosen = design(dump.properties, clause, there, empty, self._options)
        if dump.script is not None and dump.script.own and mode != ADD and dump.origin:
            told = {
                key: value
                for key, value in dump.script.own.items()
                if key != "tablespace" or not self._options.no_tablespaces
            }
            chosen = dataclasses.replace(chosen, properties={**(chosen.properties or {}), **told})
        if not self._options.data_only:
            self._check_extensions(dump, mode)
        hanging = survey(self._target, name) if there and mode != ADD else Belongings(name)
        replacing = self._options.force or (self.consent.looking and there is not None and not empty)
        addition = self._adder.look(dump, name, replacing) if mode == ADD else None
        return Step(dump, name, mode, chosen, there, empty, hanging, why, addition)

    def _check_extensions(self, dump: Dump, mode: str) -> None:
        """Refuse, before anything is touched, what needs extensions that the server's host lacks. Raises ServerError."""
        if mode == ADD or self._options.chooses:
            return  # of the chosen parts, few need one
        wanted = self._archive.extensions(dump) | set(dump.script.extensions if dump.script else ())
        has = {row["name"] for row in rows(self._target.connection, "SELECT name FROM pg_available_extensions")}
        missing = sorted(wanted - has)
        allowed = [name for name in missing if any(kind in _UNAVAILABLE % name for kind in self._options.allow_errors)]
        if len(allowed) < len(missing):
            names = [name for name in missing if name not in allowed]
            errors = [f'extension "{name}"' for name in names]
            raise ServerError(
                f"The dump of {dump.database!r} makes the extensions {', '.join(names)}, which the server's host does not have. Install their packages "
                f"there; or where nothing in the database needs them, let them fail by allow_errors: {errors}. Nothing was touched."
            )

    def made(self, dump: Dump, name: str) -> Step:
        """A step for a database that a cluster's script has made, to look at it."""
        nothing = Design(None, None, "template0", False)
        return Step(dump, name, NEW, nothing, None, False, Belongings(name))

    def _mode(self, dump: Dump, name: str, there: Optional[dict[str, Any]]) -> tuple[str, str]:
        if there is None:
            return NEW, ""
        if self._target.is_invalid(name):
            return INVALID, ""
        if self._options.partial:
            return ADD, ""
        extensions = {row["name"] for row in dump.contents.get("extensions") or ()} | self._archive.extensions(dump)
        # pg_settings does not have what the role may not see, where current_setting() fails.
        home = (
            value(self._target.connection, "SELECT setting FROM pg_settings WHERE name = 'cron.database_name'")
            or "postgres"
        )
        if "pg_cron" in extensions and name == home:
            return ASIDE, f"pg_cron can only be in {home!r}, by cron.database_name"
        if self._archive.checks_name(dump):
            return ASIDE, "a constraint of it asks for current_database()"
        return BESIDE, ""

    def _stands(self, dump: Dump, name: str) -> bool:
        """Whether this very restore has been done, and it is proven that nothing was written since."""
        oid = self._target.oid(name)
        noted = self._log.read(self._system_id, oid)
        mine = {"source": self._source.identity, "database": dump.database, "selection": self._options.selection()}
        if not noted or any(noted.get(key) != wanted for key, wanted in mine.items()):
            return False
        since = f"{name!r} was restored from {self._source.name} at {noted.get('at')}"
        if not noted.get("rows") or not noted.get("definitions") or not self._target.is_open(name):
            self.warnings.append(f"{since}; it cannot be proven that nothing was written since, so it is done again.")
            return False
        if noted.get("properties") != described(self._target, name):
            self.warnings.append(f"{since}, and was altered since.")
            return False
        with contextlib.closing(self._target.address.connect(name)) as connection:
            same = noted["definitions"] == definitions(connection)
            same = same and noted["rows"] == measure(connection).versions
        if not same:
            self.warnings.append(f"{since}, and its contents have changed since.")
            return False
        self.unchanged.append(name)
        return True


def described(target: TargetServer, name: str) -> Optional[dict[str, Any]]:
    """What a database is apart from its contents, as far as a change of it is one."""
    found = target.properties(name)
    return found and {key: value for key, value in found.items() if key not in ("size", "oid", "may_connect")}
