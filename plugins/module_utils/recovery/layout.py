# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of pg_basebackup becomes a data directory again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, put, refuse_strange
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.feeding import feed
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import filters
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import PART
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

TABLESPACE_MAP = "tablespace_map"
#: where a data directory may have links; a link elsewhere is one that root would follow when it writes the configuration
_LINKS = ("pg_wal", "pg_tblspc/*")


class Layout:
    """Lays backups of a shelf out. ``programs`` is where PostgreSQL's are."""

    def __init__(self, shelf: Shelf, secrets: Secrets, owner: str, programs: str) -> None:
        self._shelf, self._secrets, self._owner, self._programs = shelf, secrets, owner, programs

    def lay_out(
        self, chain: Sequence[Record], directory: str, tablespaces: Mapping[str, str], progress: Progress
    ) -> None:
        """Unpack a full backup, or put a chain together, in ``directory`` (made anew). ``tablespaces`` maps each one's oid to its
        path. Each artifact is compared with its sum while it is read; nothing else has been touched when one differs.

        Raises:
            CatalogError: an artifact is not what was written.
            ToolError: a program failed; a disk that is full, most often.
        """
        if len(chain) == 1:
            self._unpack(chain[0], directory, tablespaces, progress)
            return
        parts = [f"{directory}{PART}{number}" for number in range(len(chain))]
        try:
            for record, part in zip(chain, parts):
                inner = {oid: f"{part}.{oid}" for oid in _oids(record) if oid in tablespaces}
                self._unpack(record, part, inner, progress)
            progress.step("putting the chain together")
            argv = [os.path.join(self._programs, "pg_combinebackup"), "--no-sync", f"--output={directory}"]
            argv += [f"--tablespace-mapping={parts[-1]}.{oid}={path}" for oid, path in tablespaces.items()]
            done = run_as(self._owner, [*argv, *parts])
            if done.returncode:
                told = " / ".join(done.stdout.splitlines()[-6:])
                raise ToolError.failed(done.args, done.returncode, done.stdout, told)
            _map(directory, tablespaces, self._owner)
        finally:
            for record, part in zip(chain, parts):
                for path in (part, *(f"{part}.{oid}" for oid in _oids(record))):
                    shutil.rmtree(path, ignore_errors=True)

    def _unpack(self, record: Record, directory: str, tablespaces: Mapping[str, str], progress: Progress) -> None:
        progress.step(f"unpacking {record.id}", record.raw_size)
        make_directory(directory, self._owner)
        done = 0

        def told(size: int) -> None:
            progress.tell(done + size, None)

        for artifact in sorted(record.artifacts, key=lambda artifact: (artifact.role != "base", artifact.key)):
            path: Optional[str] = None
            if artifact.role == "base":
                path = directory
            elif artifact.role == "tablespace":
                # One that is nowhere else lies in the data directory (allow_in_place_tablespaces).
                oid = artifact.key.split(".")[0]
                path = tablespaces.get(oid, os.path.join(directory, "pg_tblspc", oid))
                make_directory(path, self._owner)
            if path is not None:
                self._pour(
                    record, artifact, [Command(["tar", "-x", "-p", "-f", "-", "-C", path], user=self._owner)], told
                )
                done += artifact.raw_size or artifact.size
                refuse_strange(path, _LINKS if artifact.role == "base" else ())
            elif artifact.role == "manifest":
                target = os.path.join(directory, "backup_manifest")
                self._pour(record, artifact, [Command(["tee", target], user=self._owner)], told)
        _map(directory, tablespaces, self._owner)

    def check_files(self, directory: str) -> None:
        """pg_verifybackup: every file against the manifest that PostgreSQL wrote. Raises CatalogError."""
        program = os.path.join(self._programs, "pg_verifybackup")
        if not os.access(program, os.X_OK):
            return
        done = run_as(self._owner, [program, "--no-parse-wal", "--quiet", f"--ignore={TABLESPACE_MAP}", directory])
        if done.returncode > 0:
            raise CatalogError(
                f"pg_verifybackup refuses what was unpacked: {' / '.join(done.stdout.splitlines()[-6:])}"
            ) from ToolError.failed(done.args, done.returncode, done.stdout)

    def configuration(self, record: Record, directory: str) -> list[str]:
        """Unpack the configuration files that lay outside the data directory into ``directory``. Returns their paths."""
        for artifact in record.artifacts:
            if artifact.role == "configuration":
                make_directory(directory, self._owner)
                self._pour(record, artifact, [Command(["tar", "-x", "-f", "-", "-C", directory], user=self._owner)])
                return [os.path.join(folder, name) for folder, _dirs, names in os.walk(directory) for name in names]
        return []

    def _pour(
        self,
        record: Record,
        artifact: Artifact,
        into: Sequence[Command],
        told: Callable[[int], None] = lambda size: None,
    ) -> None:
        """An artifact through the programs that undo what was done to it, and into others; its sum is made on the way."""
        key = self._shelf.key(record.id, artifact.key)
        commands = [*filters(artifact.key, self._secrets.of(record)), *into]
        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as source, Chain(commands, source, subprocess.DEVNULL) as chain:
            source.close()  # so that we see when the programs are gone
            feeding = Background(lambda: feed(self._shelf.repository.blocks(key), write_end))
            while not feeding.done():
                feeding.wait(0.5)
                told(chain.made() or 0)
            try:
                digest, size = feeding.result()
            except Exception as exc:
                raise CatalogError(f"The artifact {key} cannot be read: {exc}") from exc
            if (digest, size) != (artifact.sha256, artifact.size):
                raise CatalogError(
                    f"The artifact {key} in {self._shelf.repository.description} is not what was written: {size} bytes, and its "
                    "sha256 differs. This backup cannot be trusted: use another one (backup_id)."
                )
            chain.finish()


def _oids(record: Record) -> list[str]:
    return [artifact.key.split(".")[0] for artifact in record.artifacts if artifact.role == "tablespace"]


def _map(directory: str, tablespaces: Mapping[str, str], owner: str) -> None:
    """Links to the tablespaces, and the map that the server makes them from when it starts."""
    entry = account(owner)
    for oid, path in tablespaces.items():
        link = os.path.join(directory, "pg_tblspc", oid)
        if os.path.islink(link):
            os.unlink(link)
        elif os.path.isdir(link):
            os.rmdir(link)
        os.symlink(path, link)
        os.lchown(link, entry.pw_uid, entry.pw_gid)
    path = os.path.join(directory, TABLESPACE_MAP)
    if tablespaces:
        put(path, "".join(f"{oid} {path}\n" for oid, path in tablespaces.items()), owner)
