# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that lies in our folder, read back: what there is, what it is by its sum, and whether its content is what it should be."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import IO, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import lacking
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import at_least
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    ObjectMissing,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.opening import closed
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import check_signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import filters, stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools, find_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.units import count
from ansible_collections.holdfast.postgres.plugins.module_utils.verify import content
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.files import FileList
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken, Gone, says_nothing
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.reading import Reader, WasRead, read
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.tar import TarReader
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.unpacked import verify_unpacked
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.wal import WalCheck, segments_of

_ADDED = (".gpg", *filter(None, SUFFIXES.values()))


class FolderCheck:
    """Looks at the backups of one shelf, and at the WAL archive beside them; ``scratch`` is a private directory, where whole servers are unpacked at
    the level ``engine``."""

    def __init__(self, shelf: Shelf, secrets: Secrets, scratch: str, bin_dir: Optional[str]) -> None:
        self._shelf, self._secrets = shelf, secrets
        self._scratch, self._bin_dir = scratch, bin_dir

    @cached_property
    def _wal(self) -> Optional[WalCheck]:
        """None: there is no archive. Raises HoldfastError: nobody knows."""
        wal = wal_in(self._shelf.repository, self._shelf.name, self._secrets.of_wal)
        return None if wal is None else WalCheck(wal, self._scratch)

    def verify(self, record: Record, level: str, told: Callable[[int], None]) -> Proof:
        """Look at a backup as closely as ``level`` says. ``told`` hears how many bytes were read.

        Raises:
            Broken: it is not what it should be.
            Gone: somebody deleted it meanwhile.
            HoldfastError: it could not be looked at, which says nothing against it.
        """
        try:
            return self._verify(record, level, told)
        except ObjectMissing as exc:
            self._still_there(record)
            raise Broken("presence", f"{exc}") from exc

    def _verify(self, record: Record, level: str, told: Callable[[int], None]) -> Proof:
        proof = Proof()
        wrong = lacking(self._shelf, record)
        if wrong:
            self._still_there(record)
            raise Broken("presence", wrong)
        self._look_at_wal(record, level, proof)
        if level == "presence":
            proof.proven.append(f"{record.id}: all of its parts are there, in their sizes.")
            proof.unproven.append(f"{record.id}: what is in them was not read.")
            return proof
        if level in at_least("content"):
            self._opens(record)
        _Contents(self, record, level, told).read()
        if record.engine in ELSEWHERE:
            proof.unproven.append(
                f"{record.id}: what its snapshots hold is in the storage of a cluster, and nothing of it was read."
            )
        if level == "checksum":
            proof.proven.append(
                f"{record.id}: {count(len(record.artifacts), 'part')} read back, each as it was written (sha256)."
            )
            proof.unproven.append(
                f"{record.id}: that its content can be decrypted, unpacked and understood was not looked at."
            )
            return proof
        proof.proven.append(f"{record.id}: {self._what_was_proven(record)}.")
        if level == "engine" and record.engine == "pg_basebackup":
            proof.add(verify_unpacked(self._shelf, record, self._secrets, self._scratch, self._bin_dir))
        elif record.engine == "pg_basebackup":
            proof.unproven.append(
                f"{record.id}: the sums of its files are of a kind that only pg_verifybackup makes (level engine); the archives that they are in are "
                "what was written."
            )
        proof.unproven.append(f"{record.id}: that it can be restored: only a restore proves that.")
        return proof

    @staticmethod
    def _what_was_proven(record: Record) -> str:
        if record.engine == "pg_dump":
            dumps = count(len(record.databases), "dump")
            return f"every part is as it was written, opens and unpacks to its end, and {dumps} can be read to the end by PostgreSQL's own programs"
        if record.engine != "pg_basebackup":
            return "every part is as it was written, opens and unpacks to its end"
        return "every part is as it was written, opens and unpacks to its end, and has each file that PostgreSQL listed, in its size"

    def _still_there(self, record: Record) -> None:
        """What is missing is damage only where the store is there, and still has the backup. Raises HoldfastError, Gone."""
        self._shelf.repository.check(write=False)
        if self._shelf.read(record.id) is None:
            raise Gone(f"The backup {record.id} was deleted while it was to be verified.")

    def _opens(self, record: Record) -> None:
        """That this run's passphrase is the backup's: another one is no damage. Then that the manifest is what was signed. Raises BadOption, Broken."""
        encryption = self._secrets.of(record)
        shut = closed(self._shelf, record, encryption)
        if shut:
            smallest = min(record.artifacts, key=lambda artifact: artifact.size)
            self._compare(record, smallest, self._read(record, smallest, [], None, lambda size: None))
            raise BadOption(
                "encryption.passphrase", "***", f"is not the one of the backup {record.id}, whose smallest part is as it was written",
                "Nothing is said against the backup. Give the passphrase that it was made with (a former one lies beside its file after a rotation), "
                "or verify it without one by level: checksum.",
            )  # fmt: skip
        try:
            refusal = check_signature(record, encryption, self._secrets.asked)
        except BadOption:
            raise
        except CatalogError as exc:
            raise Broken("content", "its manifest is not what was signed by who has the passphrase") from exc
        if refusal is not None:
            raise Broken(
                "content", "its manifest is not signed, as what a passphrase encrypts is: somebody may have changed it"
            )

    def _look_at_wal(self, record: Record, level: str, proof: Proof) -> None:
        if record.engine != "pg_basebackup" or record.consistency.get("self_contained"):
            return
        if self._wal is None:
            proof.unproven.append(
                f"{record.id}: it needs WAL to be consistent, and there is no archive of the server beside it in {self._shelf.repository.description}."
            )
            return
        self._wal.there(record)
        if level in at_least("content"):
            self._wal.read(record)
        proof.proven.append(f"{record.id}: the WAL that makes it consistent is in the archive.")

    # One artifact

    def _read(
        self,
        record: Record,
        artifact: Artifact,
        programs: list[Command],
        reader: Optional[Reader],
        told: Callable[[int], None],
    ) -> WasRead:
        return read(self._shelf.repository, self._shelf.key(record.id, artifact.key), programs, reader, told)

    def _compare(self, record: Record, artifact: Artifact, found: WasRead) -> None:
        if found.size != artifact.size:
            raise Broken("presence", f"{artifact.key} has {found.size} bytes instead of {artifact.size}")
        if found.sha256 != artifact.sha256:
            raise Broken("checksum", f"{artifact.key} has another content than was written (its sha256 differs)")


class _Contents:
    """One backup's artifacts, in the order in which each can be compared with those before."""

    def __init__(self, check: FolderCheck, record: Record, level: str, told: Callable[[int], None]) -> None:
        self._check, self._record, self._level, self._told = check, record, level, told
        self._formats = {str(entry["name"]): str(entry.get("format")) for entry in record.databases}
        self._files: Optional[FileList] = None
        self._wal: set[str] = set()
        self._tools: Optional[Tools] = None
        self._done = 0

    def read(self) -> None:
        """Read all. Raises as ``FolderCheck.verify``."""
        order = {"manifest": 0, "base": 1, "tablespace": 2}
        for artifact in sorted(self._record.artifacts, key=lambda one: (order.get(one.role, 3), one.key)):
            self._one(artifact)
            self._done += artifact.size
        if self._level == "checksum":
            return
        self._whole_server()
        for name, form in self._formats.items():
            if form == "directory":
                self._directory(name)
            elif form == "tar":
                self._tar(name)

    def _one(self, artifact: Artifact) -> None:
        programs: list[Command] = []
        reader: Optional[Reader] = None
        if self._level != "checksum":
            encryption = self._check._secrets.of(self._record)
            programs = self._filters(artifact, encryption)
            reader = self._reader(artifact)
            if artifact.role == "database" and self._formats.get(str(artifact.database)) == "custom":
                programs.append(Command([self._pg_restore(), "--file=/dev/null"]))
        done = self._done
        found = self._check._read(self._record, artifact, programs, reader, lambda size: self._told(done + size))
        self._check._compare(self._record, artifact, found)
        if found.unclear is not None:
            raise ToolError(
                f"{artifact.key} is what was written, and could not be looked into here: {found.unclear}"
            ) from found.unclear
        if found.wrong is not None:
            raise Broken("content", f"{artifact.key} is what was written, and no good: {found.wrong}")

    def _filters(self, artifact: Artifact, encryption: Encryption) -> list[Command]:
        try:
            return filters(artifact.key, encryption)
        except BadOption as exc:
            if encryption.method == "none":
                raise
            raise Broken(
                "content", f"{artifact.key} is not encrypted, and its backup is: who has no key may have put it there"
            ) from exc

    def _pg_restore(self) -> str:
        return self._programs().path("pg_restore")

    def _programs(self) -> Tools:
        if self._tools is None:
            major = int(self._record.engine_version.split(".")[0])
            try:
                self._tools = find_tools(major * 10000, self._check._bin_dir)
            except ToolError as exc:
                raise ToolError(
                    f"The dumps of {self._record.id} were made by pg_dump {major}, and to read them pg_restore of that version, or a newer one, is needed, "
                    f"which is not here. Install the package postgresql-client-{major} (Debian) or postgresql{major} (Red Hat), name its directory "
                    "by bin_dir, or verify by level: checksum."
                ) from exc
        return self._tools

    def _reader(self, artifact: Artifact) -> Optional[Reader]:
        """What understands an artifact's content; None: a program does, or any is good."""
        role, form = artifact.role, self._formats.get(str(artifact.database))
        if role == "manifest":
            self._files = FileList()
            return self._files
        if role in ("base", "tablespace"):
            return TarReader(self._met("" if role == "base" else f"pg_tblspc/{artifact.key.split('.')[0]}/"))
        if role == "configuration":
            return TarReader(lambda name, size: None)
        if role == "globals":
            return content.Script(of_cluster=True)
        if role == "cluster":
            return content.Json()
        if role != "database":
            return None
        if form == "plain":
            return content.Script()
        if form == "tar":  # pg_restore goes round for ever at the end of one that was cut off
            return TarReader(lambda name, size: None)
        if form == "directory":
            name = content.plain_key(artifact.key, _ADDED)
            if content.number_of_rows(name) is not None:
                return content.Rows()
            return content.NotEmpty() if name == "toc.dat" else None  # a large object may be empty
        return None

    def _met(self, folder: str) -> Callable[[str, int], None]:
        def met(name: str, size: int) -> None:
            if not folder and name.startswith("pg_wal/"):
                self._wal.add(name[len("pg_wal/") :])
            if self._files is not None:
                self._files.met(folder + name, size)

        return met

    def _whole_server(self) -> None:
        """What was met in the archives of a whole server, compared with what PostgreSQL listed."""
        if self._files is not None:
            try:
                self._files.all_met()
            except ValueError as exc:
                raise Broken("content", str(exc)) from exc
        if self._record.engine == "pg_basebackup" and self._record.consistency.get("self_contained"):
            missing = [name for name in segments_of(self._record) if name not in self._wal]
            if missing:
                raise Broken(
                    "content", f"the WAL segment {missing[0]}, which makes it consistent and should be in it, is not"
                )

    def _tar(self, name: str) -> None:
        """pg_restore's list of a dump in tar format, which is at its beginning."""
        artifact = next(item for item in self._record.artifacts if item.database == name and item.role == "database")
        shelf, program = self._check._shelf, self._pg_restore()
        # It reads no further than it has to: how those before it end is no matter.
        programs = [
            dataclasses.replace(command, ok=tuple(range(-64, 256)))
            for command in self._filters(artifact, self._check._secrets.of(self._record))
        ]
        with shelf.repository.open(shelf.key(self._record.id, artifact.key)) as source:
            self._list(artifact.key, [*programs, Command([program, "--list"])], source)

    def _list(self, key: str, programs: list[Command], source: Union[int, IO[bytes]] = subprocess.DEVNULL) -> str:
        """The list of a dump. Raises Broken: it cannot be read."""
        try:
            return run(programs, source).decode("utf-8", "replace")
        except ToolError as exc:
            if says_nothing(exc):
                raise
            raise Broken(
                "content", f"{key} is what was written, and no good: pg_restore cannot list it: {exc}"
            ) from exc

    def _directory(self, name: str) -> None:
        """pg_restore's list of a dump in directory format, and a file of rows for each entry of it that has some."""
        parts: Mapping[str, Artifact] = {
            content.plain_key(artifact.key, _ADDED): artifact
            for artifact in self._record.artifacts
            if artifact.database == name and artifact.role == "database"
        }
        toc = parts.get("toc.dat")
        if toc is None:
            raise Broken("content", f"the dump of {name!r} has no toc.dat, which says what is in it")
        program = self._pg_restore()
        shelf, encryption = self._check._shelf, self._check._secrets.of(self._record)
        key = shelf.key(self._record.id, toc.key)
        with tempfile.TemporaryDirectory(dir=self._check._scratch) as directory:
            stream_of(lambda: shelf.repository.open(key), key, encryption).save(
                os.path.join(directory, "toc.dat"), lambda made, out: None
            )
            listing = self._list(toc.key, [Command([program, "--list", directory])])
        there = {number for part in parts if (number := content.number_of_rows(part)) is not None}
        lacking_rows = sorted(content.rows_of(listing) - there)
        if lacking_rows:
            raise Broken(
                "content",
                f"the dump of {name!r} lacks the rows of {count(len(lacking_rows), 'table')} ({lacking_rows[0]}.dat first)",
            )
