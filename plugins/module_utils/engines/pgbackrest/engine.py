# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest as an engine: one server's backups and WAL in one or several repositories."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.another_server import refuse_another
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest import expire
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.listing import (
    TYPES,
    VERIFIED,
    Listing,
    State,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.messages import explain, number
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.options import (
    IO_TIMEOUT,
    Configuration,
    config_path,
    configuration,
    seconds,
    work_directories,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Failed, Program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.reader import Reader, tell
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.stores import path_in
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngineOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    RepositoryError,
    ToolError,
    Unfinished,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure import client as azure
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import check_store, describe
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, may
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

_ANOTHER_SERVER = 28  # stanza-create: the repository's system identifier is another one
_LONGEST_WAIT = 86400  # seconds that archive-timeout can be
_TRIES = 4  # of pgBackRest, each of io-timeout seconds


class PgBackRest(Reader):
    """One server's pgBackRest.

    Raises:
        BadOption: the options do not describe stores.
    """

    def __init__(self, host: Host, options: RepositoryEngineOptions) -> None:
        stores = [check_store(store) for store in options.repositories]
        self._stores: Sequence[Mapping[str, Any]] = [
            azure.completed(store) if store["type"] == "azure" else store for store in stores
        ]
        self._descriptions = [describe(store) for store in self._stores]
        self._options = options
        self._directory = config_path(options.config_dir, options.server_name)
        wait = seconds("io-timeout", options.extra.get("io-timeout", str(IO_TIMEOUT)))
        patience = 30 + _TRIES * len(stores) * wait
        description = f"the WAL archive of {options.server_name} in {' and '.join(self._descriptions)}"
        super().__init__(
            host, options.server_name, options.program, (f"--config-path={self._directory}",), patience, description
        )

    @cached_property
    def _configuration(self) -> Configuration:
        secret = Encryption.passphrase(self._options.encryption or {})
        owner = self._host.owner
        work = work_directories(
            self._options.config_dir, owner, lambda path: os.path.isdir(path) and may(owner, "-w", path)
        )
        return configuration(
            self._host, self._options, self._stores, secret.decode() if secret else None, self._number, work
        )

    # Setting up

    def configuration_files(self) -> Sequence[str]:
        return [
            os.path.join(self._directory, name) for name in ("pgbackrest.conf", os.path.join("conf.d", "secrets.conf"))
        ]

    def configure(self, check: bool) -> list[Step]:
        self._check_version()
        absent = self._absent()
        if len(absent) == len(self._stores):
            raise RepositoryError(" ".join(absent.values()))
        changes = self._changes()
        if changes:
            # A configuration that does not work would stop an archive that does.
            with self._rehearsal() as program:
                self._refuse(self._look(program).states)
        steps = []
        for path, text, mode in changes:
            what = "pgBackRest's secrets" if mode == 0o600 else "pgBackRest's configuration"
            steps.append(Step(f"write {path}, {what}, with mode {mode:04o}"))
            if not check:
                files.put(path, text, self._host.owner, mode, folder_mode=0o750)
                if not may(self._host.owner, "-r", path):
                    raise ToolError(
                        f"{self._host.owner}, who owns the server, cannot read {path}: a directory above it is closed to that user."
                    )
        # Those of the system are several owners'.
        return steps + self._make(self._work_directories(), check, ours_above=True)

    def _make(self, paths: Sequence[str], check: bool, ours_above: bool = False) -> list[Step]:
        for path in paths:
            if not check:
                files.make_directory(path, self._host.owner, 0o750, ours_above)
        return [Step(f"create the directory {path} for {self._host.owner}") for path in paths]

    def _changes(self) -> list[tuple[str, str, int]]:
        """The files that are not yet as they should be, secrets first: path, text, mode."""
        wanted = [
            (os.path.join(self._directory, "conf.d", "secrets.conf"), self._configuration.secrets, 0o600),
            (os.path.join(self._directory, "pgbackrest.conf"), self._configuration.main, 0o640),
        ]
        return [change for change in wanted if not files.is_there(change[0], change[1], self._host.owner, change[2])]

    def _work_directories(self) -> list[str]:
        """Those that are missing. Raises BadOption: one that is there is not the owner's to write to."""
        made, owner = self._configuration, self._host.owner
        missing = []
        for option, path in (("spool-path", made.spool), ("lock-path", made.locks), ("log-path", made.logs)):
            if path is not None and not os.path.isdir(path):
                missing.append(path)
            elif path is not None and not may(owner, "-w", path):
                raise BadOption(
                    f"engine_options.{option}", path, f"is not for {owner} to write to",
                    "Name another directory; it is made when it is not there.",
                )  # fmt: skip
        return missing

    def _repository_directories(self) -> list[str]:
        """Those that are missing. Raises RepositoryError: one that is there is not the owner's to write to."""
        missing, owner = [], self._host.owner
        for store in self._stores:
            if store["type"] != "file" or not os.path.isdir(store["path"]):
                continue
            path = path_in(store)
            if not os.path.isdir(path):
                missing.append(path)
            elif not may(owner, "-w", path):
                raise RepositoryError(
                    f"{owner}, who owns the server, may not write to {path}. Let it belong to that user."
                )
        return missing

    def _absent(self) -> dict[int, str]:
        """The numbers of repositories in directories that are not there, and what to do. Nothing may be made in their place: a missing
        directory most often is a missing mount."""
        return {
            number: f"{store['path']} is not there, or no directory. Create it, or mount it."
            for number, store in enumerate(self._stores, 1)
            if store["type"] == "file" and not os.path.isdir(store["path"])
        }

    @contextlib.contextmanager
    def _rehearsal(self) -> Iterator[Program]:
        """pgBackRest with the configuration as it should be, in a temporary directory."""
        with files.temporary_directory(self._host.owner) as scratch:
            texts = {"pgbackrest.conf": self._configuration.main, "conf.d/secrets.conf": self._configuration.secrets}
            files.make_directory(os.path.join(scratch, "conf.d"), self._host.owner)
            for name, text in texts.items():
                files.put(os.path.join(scratch, name), text, self._host.owner)
            yield self._program_at((f"--config-path={scratch}",))

    def _look(self, program: Program) -> Listing:
        """What is in the repositories. Raises BadOption: an engine option is none."""
        said = program.ask("info", "--output=json", detail="warn")
        strange = re.findall(r"WARN: configuration file contains (?:\w+ )*option '([^']+)'", said)
        if strange:
            raise BadOption(
                "engine_options",
                strange,
                f"is no option of pgBackRest {self.version}",
                "Check its spelling, and where it goes.",
            )
        return Listing(said[said.index("[{") :] if "[{" in said else said, self._stanza)

    def _refuse(self, states: Sequence[State]) -> None:
        """Raise what forbids to go on. One of several repositories may be out of reach: a disaster must not stop the others."""
        wrong = [state for state in states if not state.readable]
        if wrong and (len(wrong) == len(states) or not all(state.unreachable for state in wrong)):
            told = " ".join(
                f"{self._descriptions[state.number - 1]} cannot be used: {explain(state.message)}" for state in wrong
            )
            raise RepositoryError(f"{told} Nothing was changed.")

    def prepare(self, check: bool) -> list[Step]:
        with self._rehearsal() if self._changes() else contextlib.nullcontext(self._program) as program:
            states = self._look(program).states
        self._refuse(states)
        mine = self._host.system_id or self._control()
        for state in states:
            self._refuse_another(self._descriptions[state.number - 1], state.system_id, mine)
        steps = self._make(self._repository_directories(), check)
        absent = self._absent()
        missing = [state for state in states if state.readable and not state.has_stanza and state.number not in absent]
        if missing and absent:
            raise RepositoryError(
                f"{' '.join(absent.values())} pgBackRest makes its stanza in all repositories at once, and it is yet to be made in "
                f"{self._descriptions[missing[0].number - 1]}."
            )
        if missing and not check:
            try:
                self._program.ask("stanza-create", patience=60)
            except Failed as exc:
                if number(exc.said) == _ANOTHER_SERVER:
                    self._refuse_another("one of the repositories", "another one", mine)
                raise ToolError(f"pgBackRest could not make its stanza. {exc}") from exc
        return steps + [
            Step(f"create pgBackRest's stanza {self._stanza} in {self._descriptions[state.number - 1]}")
            for state in missing
        ]

    def _control(self) -> str:
        instance = Instance(self._host.data_directory, self._host.bin_dir, self._host.owner)
        return instance.control()["Database system identifier"]

    def _refuse_another(self, where: str, there: Optional[str], mine: str) -> None:
        way_out = f"if it is the same one after pg_upgrade, run: {self._program.by_hand('stanza-upgrade')}"
        refuse_another(f"The stanza {self._stanza} in {where}", there, mine, way_out)

    # Backups

    def _backups(self, problems: list[str], lost: dict[str, str]) -> Iterator[Record]:
        problems += self._absent().values()
        yield from super()._backups(problems, lost)

    def _back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        # What this run asks for takes precedence over the configuration, which is that of archiving.
        arguments = [
            f"--type={TYPES[kind]}",
            *self._configuration.of_a_backup,
            *self._patience_for_wal(archiving.timeout),
            *(f"--annotation={key}={value}" for key, value in annotations.items()),
        ]
        made: dict[str, list[str]] = {}
        failures: list[str] = []
        errors: list[ToolError] = []
        total = self._last_size()
        absent = self._absent()
        for repository, description in enumerate(self._descriptions, 1):
            try:
                if repository in absent:
                    raise ToolError(absent[repository])
                progress.step(f"backing up by pgBackRest ({kind}) to {description}", total)
                label, warnings = self._back_up_to([*arguments, f"--repo={repository}"], total, progress)
                made.setdefault(label, []).extend(warnings)
            except ToolError as exc:
                failures.append(f"{description}: {exc}")
                errors.append(exc)
        if failures:
            message = f"pgBackRest made no backup in {' In '.join(failures)}"
            record = next((record for record in self.backups([]) if record.id in made), None)
            if record is None:
                raise ToolError(message) from errors[0]
            raise Unfinished(
                f"{message} The other repositories have theirs: {', '.join(made)}. Nothing was deleted.",
                record.to_dict(),
            ) from errors[0]
        records = {record.id: record for record in self.backups([])}
        lost = [label for label in made if label not in records]
        if lost:
            raise ToolError(
                f"pgBackRest said that it made {', '.join(lost)}, and its list does not have it. Do not rely on it."
            )
        # Each repository gets a backup of its own, so there may be others: they have the same annotations.
        label = next(iter(made))
        records[label].warnings += made[label]
        return records[label]

    def _patience_for_wal(self, timeout: float) -> list[str]:
        """It waits by itself, and says which segment did not arrive. What the user told it by its own name takes precedence."""
        if "archive-timeout" in self._options.extra:
            return []
        return [f"--archive-timeout={min(max(timeout, 1), _LONGEST_WAIT):g}"]

    def _back_up_to(self, arguments: Sequence[str], total: Optional[int], progress: Progress) -> tuple[str, list[str]]:
        """The label of a backup that was made, and what pgBackRest warned of."""
        labels: list[str] = []
        warnings: list[str] = []

        def read(line: str) -> None:
            tell(line, total, progress)
            labels.extend(re.findall(r"INFO: new backup label = (\S+)", line))
            warnings.extend(re.findall(r"WARN: (.+)", line))

        self._program.follow("backup", *arguments, on_line=read)
        if not labels:
            raise ToolError("It ended well, and named no backup. Do not rely on it.")
        return labels[0], warnings

    def _last_size(self) -> Optional[int]:
        """Bytes of the last backup here, for how far this one is; None: there is none."""
        with contextlib.suppress(ToolError, CatalogError, RepositoryError):
            sizes = [record.scope["size"] for record in self.backups([])]
            return int(sizes[-1]) if sizes else None
        return None

    def remember_verified(self, record: Record) -> None:
        self.annotate(record, {VERIFIED: format_time(utcnow())})

    def annotate(self, record: Record, annotations: Mapping[str, str]) -> None:
        """Add annotations to a backup that is there, or change them; an empty one goes. Raises ToolError."""
        arguments = [f"--annotation={key}={value}" for key, value in annotations.items()]
        for repository in record.scope["repositories"]:
            self._program.ask("annotate", f"--repo={repository}", f"--set={record.id}", *arguments, patience=60)

    def delete(self, labels: Sequence[str], check: bool, warnings: list[str]) -> list[str]:
        kept = self._configuration.archive_kept
        return expire.delete(self._program, list(self.backups([])), labels, self._descriptions, kept, check)
