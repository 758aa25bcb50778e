# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One drill, from the decision to the evidence."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill import (
    assertions,
    checks,
    choosing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.course import About, Course
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.dump import DumpedDatabases
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.form import Form, Scratch
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.keep import keep
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.marker import look_for
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.quiet import quiet
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import LATEST_BACKUP, DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.scratch import (
    NOWHERE,
    ScratchDirectory,
    cell,
    free_port,
    give_way,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.tiers import (
    Candidates,
    Tier,
    candidates,
    choose_tier,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.whole import WholeServer
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    Incomplete,
    NoSpace,
    ServerError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.times import (
    format_time,
    utcnow,
)


@dataclass
class DrillResult:
    """What a drill did, or would do. ``evidence`` None: there was none."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    record: Optional[Record] = None
    evidence: Optional[dict[str, Any]] = None
    #: where the evidence lies, for people
    kept_at: Optional[str] = None
    #: how a server that was to be kept is reached
    server: Optional[dict[str, Any]] = None


class DrillRun:
    """A drill of one server's backup. ``space`` and ``room`` are private directories, the latter with room for a dump."""

    def __init__(
        self,
        params: Mapping[str, Any],
        request: DrillRequest,
        tiers: Sequence[Tier],
        secrets: Secrets,
        owner: str,
        space: str,
        room: str,
        config_dir: str,
        about: About,
        progress: Progress,
    ) -> None:
        self._params, self._request, self._tiers, self._secrets = params, request, list(tiers), secrets
        self._owner, self._space, self._room, self._config_dir = owner, space, room, config_dir
        self._began = time.monotonic()
        self._findings = Findings(progress)
        self._course = Course(str(params["server_name"]), request, about, self._findings, utcnow())
        self._directory = ScratchDirectory(request.scratch_dir, self._course.name, owner)
        self.result = DrillResult()

    def run(self, check: bool) -> DrillResult:
        """Drill, unless ``check``: then say what would be drilled.

        Raises:
            Incomplete: the drill did not pass, as the options ask; the evidence is kept, and in the result.
            HoldfastError: an option is wrong, or another drill is at work; there is no evidence.
        """
        tier = self._course.tier = choose_tier(self._tiers, self._request.tier)
        recent = self._recent()
        if recent is not None:
            self.result.warnings.append(recent)
            return self.result
        port = free_port(self._request.port)
        if check:
            leftover = self._directory.leftover()
            form, why = self._choose(tier, port)
            self.result.plan = [f"remove {leftover}, which an earlier drill left"] if leftover else []
            self.result.plan += [f"drill the backup {form.record.id} of {tier.name}: {why}", *form.plan(True)]
            self.result.plan += ["look at it, tear it down, and write the evidence beside the backups"]
            self.result.record, self.result.changed = form.record, True
            return self.result
        began = format_time(utcnow())
        teardown: dict[str, Any] = {"removed": False, "kept": False, "seconds": 0.0}
        with (
            self._directory.taken(self._request.keep),
            stopping.remains("The drill was not ended, and proves nothing; its server is removed."),
        ):
            self._course.priority = give_way() if self._request.low_priority else self._course.priority
            with contextlib.ExitStack() as stack:
                try:
                    self._drill(tier, port, stack)
                except NoSpace:  # it says nothing of the backup
                    raise
                except HoldfastError as exc:
                    # Nor does an option that is wrong. What is refused once all is planned is the backup.
                    if isinstance(exc, BadOption) and self.result.record is None:
                        raise
                    self._findings.failure = self._findings.failure or ("drill", str(exc))
                watch = checks.Stopwatch()
                stack.close()
                kept = self._request.keep and self._findings.failure is None
                if not kept:
                    self._directory.clear()
                    self.result.server = None
                teardown.update(removed=not kept, kept=kept, seconds=watch.seconds)
        self._write(tier, began, teardown)
        self._judge()
        return self.result

    def _recent(self) -> Optional[str]:
        """The passed drill that makes another one needless, as a sentence."""
        if self._request.max_age is None:
            return None
        found = choosing.newest({tier.name: tier.drills for tier in self._tiers}, utcnow(), self._request.max_age)
        for tier in self._tiers:
            if found is None or tier.shelf is None or found[0] != tier.name:
                continue
            last = found[1]
            with contextlib.suppress(HoldfastError):  # one that cannot be believed proves nothing
                evidence.read(tier.shelf, last.id)
                return (
                    f"Nothing to do: the drill {last.id} out of {tier.name} passed at {last.at}, less than max_age ago."
                )
        return None

    def _choose(self, tier: Tier, port: int) -> tuple[Form, str]:
        found: Candidates = candidates(
            tier, self._params, self._secrets, self._directory.data, self._owner, self._config_dir, self.result.warnings
        )
        self._course.records = found.all
        where = (
            f"{tier.name} ({self._course.name})"
            if tier.shelf is None
            else f"{self._course.name} in {tier.shelf.repository.description}"
        )
        chance = random.SystemRandom()
        record, why = choosing.choose(found.all, self._request.select, evidence.proven(tier.drills), chance, where)
        closed, self._course.isolation["network"] = cell(self._owner)
        scratch = Scratch(self._directory, self._owner, self._space, self._room, port, closed)
        is_copy = any(record is copy for copy in found.copies)
        if is_copy and found.source is not None:
            named = self._request.select != LATEST_BACKUP
            self._course.form = WholeServer(
                found.source, found.copies, record, named, self._request, scratch, self._findings, self.result.warnings
            )
        elif tier.shelf is not None:
            self._course.form = DumpedDatabases(
                tier.shelf, self._secrets, record, self._request, scratch, self._findings, self.result.warnings
            )
        if self._course.form is None:
            raise AssertionError("a tier that was read has a shelf")
        return self._course.form, why

    def _drill(self, tier: Tier, port: int, stack: contextlib.ExitStack) -> None:
        import psycopg2

        with self._findings.phase("choose", "choosing a backup"):
            form, _why = self._choose(tier, port)
        with self._findings.phase("plan", "planning the drill"):
            form.plan(False)
            self.result.record = form.record
            self._course.note_manifest(form.record)
        with form.reading():
            server, instance = form.stand(stack)
        try:
            databases = form.of_interest(checks.user_databases(server.connect, server.database))
            with self._findings.phase("isolate", "switching off what could act by itself"):
                self._quiet(server, databases)
            with self._findings.phase("write", "writing as an ordinary role"):
                written = checks.first_write(server, (databases or [server.database])[0])
                self._findings.checks.append(written)
                self._course.rto = round(time.monotonic() - self._began, 3)
            with self._findings.phase("checks", "looking at what was restored"):
                self._look(form, server, instance, databases)
        except psycopg2.Error as exc:
            text = " ".join(str(exc).split())
            self._findings.failure = self._findings.failure or (self._findings.phases[-1].name, text)
            raise ServerError(f"PostgreSQL failed in the scratch server: {text}") from exc
        with self._findings.phase("checksums", "checking the pages"):
            server.stop()
            summed = checks.checksums(instance)
            self._course.environment["data_checksums"] = summed is not None
            self._findings.checks += [summed] if summed else []
        if self._request.keep:
            stack.close()
            server = form.start_again(stack)
            server.leave()
            self.result.server = {
                "login_unix_socket": server.socket_directory,
                "login_port": server.port,
                "login_user": server.user,
                "data_directory": instance.directory,
            }

    def _quiet(self, server: PrivateServer, databases: Sequence[str]) -> None:
        shut = quiet(server.connect, databases, NOWHERE)
        self._course.isolation["event triggers switched off"] = ", ".join(shut["event_triggers"]) or "none there"
        self._course.isolation["foreign servers led nowhere"] = ", ".join(shut["foreign_servers"]) or "none there"
        if shut["open"]:
            self._course.isolation["foreign servers left as they are"] = ", ".join(shut["open"])

    def _look(self, form: Form, server: PrivateServer, instance: Instance, databases: Sequence[str]) -> None:
        deadline = time.monotonic() + self._request.check_time
        for assertion in self._request.assertions:
            answer = assertions.ask(server.connect, assertion)
            self._findings.assertions.append(answer.describe())
            self._findings.refuted += [] if answer.ok else [answer.sentence()]
        if self._request.marker is not None:
            check, self._course.marker = look_for(server.connect, self._request.marker, form)
            self._findings.checks.append(check)
        looked = checks.look_into(server.connect, databases, form.expected, deadline, checks.pkglibdir(server))
        self._findings.checks += looked.checks
        self._findings.notes += looked.notes
        self._course.environment.update(looked.environment)
        if self._request.amcheck != "none":
            left = deadline - time.monotonic()
            self._findings.checks.append(
                checks.amcheck(server, instance, databases, self._request.amcheck, left, self._request.jobs)
            )

    def _judge(self) -> None:
        """Raises Incomplete: the verdict is one that the module is to fail on."""
        found = self.result.evidence or {}
        reasons = list(found.get("reasons") or ())
        told = f"The drill of {self._what()} {_OUTCOME[found['verdict']]}. {' '.join(reasons)} The evidence is {self.result.kept_at}."
        if found["verdict"] in self._request.fail_on:
            raise Incomplete(told, self.describe())
        self.result.warnings += [told] if reasons else []

    def _what(self) -> str:
        record = self.result.record or (self._course.form.record if self._course.form else None)
        tier = self._course.tier.name if self._course.tier else "the repository"
        return f"the backup {record.id} out of {tier}" if record else f"a backup of {self._course.name} out of {tier}"

    def describe(self) -> dict[str, Any]:
        """For the module's result."""
        found: dict[str, Any] = {"changed": self.result.changed, "plan": self.result.plan}
        if self.result.evidence is not None:
            found["verdict"] = self.result.evidence["verdict"]
            found["evidence"] = self.result.evidence
            found["evidence_at"] = self.result.kept_at
        if self.result.record is not None:
            found["backup"] = self.result.record.to_dict()
        if self.result.server is not None:
            found["server"] = self.result.server
        return found

    def _write(self, tier: Tier, began: str, teardown: Mapping[str, Any]) -> None:
        """The evidence. Raises HoldfastError."""
        stopped, course = utcnow(), self._course
        self.result.changed = True
        self._findings.progress.step("writing the evidence")
        record = course.form.record if course.form and self.result.record is not None else None
        content = course.content(record, began, format_time(stopped), teardown)
        tiers = [tier, *(one for one in self._tiers if one is not tier)]
        self.result.evidence, self.result.kept_at = keep(
            tiers, course.name, content, f"{stopped:%Y%m%dT%H%M%SZ}", course.about, self.result.warnings
        )


_OUTCOME = {
    "pass": "passed",
    "missed": "passed, and missed an objective",
    "partial": "could not make every check",
    "fail": "failed",
}
