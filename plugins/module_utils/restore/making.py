# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database is made, checked, and takes its name. Whatever goes wrong, or stops it, is cleared up, and what remains is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import belongings, properties
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.add import Adder
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer, side_names
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.landing import Landing, land
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load import Loader
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.plan import (
    ADD,
    ASIDE,
    BESIDE,
    INVALID,
    NEW,
    Step,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.remaining import Remaining


class Maker:
    """Makes the databases of a plan, one at a time. ``superuser``: who restores is one; ``warnings``: what the user is to hear."""

    def __init__(
        self,
        target: TargetServer,
        loading: LoadContext,
        record: Optional[Record],
        superuser: bool,
        progress: Progress,
        warnings: list[str],
    ) -> None:
        self._target, self._loading, self._options = target, loading, loading.options
        self._scope = record.scope if record else {}
        self._loader, self._adder = Loader(loading, self._scope), Adder(loading)
        self._superuser, self._progress, self._warnings = superuser, progress, warnings
        self.remaining = Remaining()
        #: the comment that a script brought for its database
        self._brought: Optional[str] = None

    def make(self, step: Step) -> tuple[Landing, Optional[str]]:
        """What was found in the end, and what the predecessor is called, if it is still there.

        Raises:
            HoldfastError, psycopg2.Error: ``remaining`` says what that means.
        """
        self.remaining.begin(step.name, step.there is not None, not self._options.allow_errors)
        ways = {ADD: self._add, NEW: self._new, BESIDE: self._beside, ASIDE: self._aside, INVALID: self._beside}
        return ways[step.mode](step)

    def prepare(self, dump: Dump) -> None:
        """What can be done before anything is touched."""
        self._loader.prepare(dump)

    def _add(self, step: Step) -> tuple[Landing, Optional[str]]:
        if step.addition is None:
            raise AssertionError("a step that adds knows what")
        self._adder.add(step.dump, step.name, step.addition, self.remaining)
        landing = self.look(step, step.name)
        with contextlib.closing(self._target.address.connect(step.name)) as connection:
            landing.proof.lost += step.addition.lost(connection)
        return landing, None

    def _new(self, step: Step) -> tuple[Landing, Optional[str]]:
        """Under its own name, where there is none: what asks for the database's name gets the right answer."""
        try:
            landing = self._build(step, step.name, None)
        except BaseException:
            self._give_up()
            raise
        self._open(step)
        properties.close(self._target, step.name, step.design)
        return landing, None

    def _beside(self, step: Step) -> tuple[Landing, Optional[str]]:
        new, old = side_names(step.name)
        try:
            landing = self._build(step, new, None)
            landing.proof.lost += belongings.hand_over_labels(self._target, step.belongings, new)
            properties.finish(self._target, new, step.design)
            if step.mode == INVALID:
                self._target.drop(step.name)
            with self._swapped(new, old if step.mode == BESIDE else None):
                self._target.swap(new, step.name, old, self._options.terminate_sessions, self._comment(step))
        except BaseException:
            if not self.remaining.taken:
                self._give_up()
            raise
        landing.refresh(self._target, step.name)
        kept = self._settle(step, landing, old)
        properties.close(self._target, step.name, step.design)
        return landing, kept

    def _aside(self, step: Step) -> tuple[Landing, Optional[str]]:
        _new, old = side_names(step.name)
        try:
            with self._moved(step.name, old):
                self._target.step_aside(step.name, old, self._options.terminate_sessions)
            landing = self._build(step, step.name, old)
            landing.proof.lost += belongings.hand_over_labels(self._target, step.belongings, step.name)
        except BaseException:
            self._give_up()
            self._move_back(step.name)
            raise
        self._open(step)
        kept = self._settle(step, landing, old)
        properties.close(self._target, step.name, step.design)
        return landing, kept

    def _open(self, step: Step) -> None:
        """Let others into a database that was made under its own name."""
        self.remaining.taken, self.remaining.half = True, None
        self._target.unmark(step.name, self._comment(step))
        properties.finish(self._target, step.name, step.design)

    def _comment(self, step: Step) -> Optional[str]:
        """The one that a script brought; else as it was."""
        found: Optional[str] = self._brought or (step.design.properties or {}).get("comment")
        return found

    def _settle(self, step: Step, landing: Landing, old: str) -> Optional[str]:
        """What hung on the old database; and the old one, where it is not kept. Returns its name if it is still there."""
        if step.mode == INVALID:
            return None
        landing.proof.lost += belongings.hand_over_replication(self._target, step.belongings, old)
        landing.proof.unproven += step.belongings.unproven()
        if self._target.is_open(step.name):
            landing.proof.lost += step.belongings.lost(self._target)
        if step.empty and not self._still_empty(old):
            self._warnings.append(
                f"The database {step.name!r} was empty when this run began. Somebody has put something into it since, or it cannot be looked "
                f"into: as nobody agreed to its loss, it stays as {old!r}. Look at it, and drop it."
            )
        elif not self._options.keep_old and self._is_gone(old):
            return None
        if self._options.terminate_sessions and step.there and step.there["allow_connections"]:
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", old)
        return old

    def _still_empty(self, old: str) -> bool:
        """Whether an empty predecessor that has stepped aside was filled while its successor was made: nobody was asked about that."""
        with contextlib.suppress(HoldfastError, *_database_errors()):
            # It may have been closed, to keep sessions out of it.
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", old)
            return self._target.is_empty(old)
        return False

    @contextlib.contextmanager
    def _swapped(self, new: str, old: Optional[str]) -> Iterator[None]:
        """Whether the names were swapped is known however this block ends: a stop may come when they were."""
        made = self._target.oid(new)
        try:
            yield
        finally:
            with contextlib.suppress(HoldfastError, *_database_errors()):
                if made is not None and self._target.name_of(made) != new:
                    self.remaining.taken, self.remaining.half, self.remaining.aside = True, None, old

    @contextlib.contextmanager
    def _moved(self, name: str, old: str) -> Iterator[None]:
        """As ``_swapped``, for one that steps aside."""
        try:
            yield
        finally:
            with contextlib.suppress(HoldfastError, *_database_errors()):
                if self._target.oid(old) is not None and self._target.oid(name) is None:
                    self.remaining.aside = old

    def _give_up(self) -> None:
        """Drop what was begun. Whatever goes wrong here must not hide what went wrong first."""
        name = self.remaining.half
        if name is None:
            return
        self.remaining.dropping = True
        with contextlib.suppress(HoldfastError, *_database_errors()):
            self._target.revive()
            self._target.drop(name)
            self.remaining.half = None
        self.remaining.dropping = False

    def _move_back(self, name: str) -> None:
        """Give the predecessor its name again, if what took it is gone."""
        if self.remaining.aside is None or self.remaining.half is not None:
            return
        with contextlib.suppress(HoldfastError, *_database_errors()):
            self._target.revive()
            self._target.step_aside(self.remaining.aside, name, terminate=True)
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
            self.remaining.aside = None

    def _is_gone(self, old: str) -> bool:
        """Drop the predecessor; ``remaining`` knows whether that is done however this ends: a stop may come when it was."""
        try:
            return self.dropped(old)
        finally:
            with contextlib.suppress(HoldfastError, *_database_errors()):
                if self._target.oid(old) is None:
                    self.remaining.aside = None

    def dropped(self, old: str) -> bool:
        """Drop a database that is needed no more. One that cannot be (a subscription or slot holds it) stays, with a
        word."""
        try:
            self._target.drop(old)
        except ServerError as exc:
            self._warnings.append(f"The database {old!r}, which is needed no more, is still there: {exc}")
            return False
        return True

    def _build(self, step: Step, new: str, predecessor: Optional[str]) -> Landing:
        """The database, complete and checked; nobody but superusers comes in meanwhile."""
        with stopping.held():  # what is ours is dropped if this fails, and nothing else of that name
            properties.create(self._target, new, step.design)
            self.remaining.half = new
        self._target.mark(new, predecessor)
        if self._superuser:
            self._target.execute("ALTER DATABASE {} WITH CONNECTION LIMIT 0", new)
        properties.dress(self._target, new, step.design, privileges=not self._options.no_privileges)
        self._loader.load(step.dump, new)
        self._brought = self._target.own_comment(new)
        landing = self.look(step, new)
        made = self._target.properties(new)
        if made and made["connection_limit"] == 0:  # else a script has brought its own
            self._target.execute("ALTER DATABASE {} WITH CONNECTION LIMIT -1", new)
        return landing

    def look(self, step: Step, name: str) -> Landing:
        """What is in a database that was restored. Raises ServerError."""
        self._progress.step("checking what was restored")
        with contextlib.closing(self._target.address.connect(name)) as connection:
            landing = land(connection, self._target.address, name, step, self._scope, self._options, self._loader)
        selection = self._loading.chosen.get(id(step.dump))
        landing.proof.lost += selection.lost() if selection else []
        return landing


def _database_errors() -> tuple[type[Exception], ...]:
    import psycopg2

    return (psycopg2.Error,)
