# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL in a directory, put there by a shell command (or by receiver.py): ``<path>/<server_name>/_wal/<name>[.zst|.gz|.lz4]``.

Source: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-ARCHIVING-WAL ("archive commands … should
generally be designed to refuse to overwrite any pre-existing archive file").
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.another_server import refuse_another
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import end, remembered
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    RepositoryError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.users import as_user

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

FOLDER = "_wal"  # no backup's id, which begins with a letter or digit
_OWNER = ".server.json"
#: what a shipper remembers of the stores: whoever finds it knows that one was here
SHIPPED = ".shipped.json"
# PostgreSQL before 16 has room for so many bytes, with the paths put in: %p is pg_wal/ and a name of 24 characters, the
# longest %f that of a backup's history file.
_ROOM = 1023
# What pg_receivewal has not finished is as long as a whole segment, and good as far as it goes: the newest that there is.
_PARTIAL = ".partial"
_LONGEST = {"%p": len("pg_wal/") + 40, "%f": 40}


def marker_of(directory: str) -> str:
    """The file in an archive's directory that says whose it is."""
    return os.path.join(directory, _OWNER)


def archive_command(directory: str, program: str, suffix: str) -> str:
    """The shell command. A file that is there already is compared: the same content is fine, another one is an error, so
    a segment is never overwritten. A new one gets a temporary name, is flushed to the disk, renamed unless the name was
    taken meanwhile, and the directory flushed. ``program`` compresses to its standard output, or is empty. Whatever fails is
    exit code 1: above 125 (a program that is missing is 127) the server would restart its archiver, and not count it."""
    same = f'{program} -d -c "$f" | cmp -s "%p" -' if program else 'cmp -s "%p" "$f"'
    copy = f'{program} -c "%p" > "$t" && sync "$t"' if program else 'dd if="%p" of="$t" bs=1M conv=fsync status=none'
    quoted = shlex.quote(directory).replace("%", "%%")
    return (
        f'd={quoted}; f="$d/%f{suffix}"; t="$d/.%f.new"; '
        f'if [ -e "$f" ]; then {same} && sync "$f" "$d"; '
        f'else {copy} && mv -n "$t" "$f" && [ ! -e "$t" ] && sync "$d"; fi || exit 1'
    )


def restore_command(directory: str, suffixes: Sequence[str]) -> str:
    """The shell command that fetches a file, whichever of the suffixes it has. Exit code 1 says that there is none."""
    quoted = shlex.quote(directory).replace("%", "%%")
    steps = []
    for suffix in suffixes:
        program = _PROGRAMS.get(suffix)
        fetch = f'{program} -d -c "$f{suffix}" > "%p"' if program else f'cp "$f{suffix}" "%p"'
        steps.append(f'if [ -e "$f{suffix}" ]; then {fetch}')
    return f'd={quoted}; f="$d/%f"; ' + "; el".join(steps) + "; else exit 1; fi"


def length(command: str) -> int:
    """Bytes of a command once the server has put names in."""
    return len(command.encode()) + sum(command.count(word) * (size - len(word)) for word, size in _LONGEST.items())


_PROGRAMS = {".gz": "gzip -q", ".lz4": "lz4 -q", ".zst": "zstd -q"}


class FileWal(WalArchive):
    """The directory. ``compression`` is that of what comes from now on."""

    def __init__(self, path: str, compression: Compression) -> None:
        self.directory, self._compression = path, compression
        self.description = f"the WAL archive {path}"

    def archive_command(self) -> str:
        # Two suffixes of one file would be two contents under one name: so the program's default level is always the same.
        suffix = self._compression.suffix
        program = _PROGRAMS.get(suffix, "")
        if suffix == ".zst":
            program += f" --fast={-level}" if (level := self._compression.level or 1) < 0 else f" -{level}"
        elif suffix:
            program += f" -{self._compression.level}"
        return archive_command(self.directory, program, suffix)

    def is_own(self, command: Optional[str]) -> bool:
        """However it compresses."""
        end = archive_command(self.directory, "", "").partition("; f=")[0]
        return command is not None and command.startswith(f"{end}; f=") and 'mv -n "$t" "$f"' in command

    def restore_command(self) -> str:
        present = {os.path.splitext(name)[1] for name in self.names()}
        packed = sorted(present & set(_PROGRAMS) | {self._compression.suffix} - {""})
        return restore_command(self.directory, ["", *packed, *([_PARTIAL] if _PARTIAL in present else [])])

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        try:
            found = sorted(name for name in os.listdir(self.directory) if not name.startswith("."))
        except FileNotFoundError:
            return iter(())
        except OSError as exc:
            raise RepositoryError(f"{self.description} cannot be read: {exc.strerror}.") from exc
        return (name for name in found if after is None or name > after or ".history" in name)

    def fetch(self, name: str, path: str) -> bool:
        for suffix in ("", *_PROGRAMS):
            source = os.path.join(self.directory, name + suffix)
            if not os.path.exists(source):
                continue
            if not suffix:
                shutil.copyfile(source, path)
                return True
            with open(path, "wb") as target:
                argv = [*_PROGRAMS[suffix].split(), "-d", "-c", source]
                done = subprocess.run(argv, stdout=target, stderr=subprocess.PIPE, check=False)
            if done.returncode:
                told = done.stderr.decode("utf-8", "replace").strip()
                raise RepositoryError(f"{source} cannot be unpacked: {told}. It is damaged.") from ToolError.failed(
                    argv, done.returncode, told
                )
            return True
        return False

    def age(self, name: Optional[str]) -> Optional[float]:
        for suffix in ("", *_PROGRAMS) if name else ():
            with contextlib.suppress(FileNotFoundError):
                return round(time.time() - os.stat(os.path.join(self.directory, f"{name}{suffix}")).st_mtime, 1)
        return None

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                os.unlink(os.path.join(self.directory, name))
            except FileNotFoundError:
                pass
            except OSError as exc:
                raise RepositoryError(f"{name} cannot be deleted from {self.description}: {exc.strerror}.") from exc


class Together(WalArchive):
    """Several archives of one server, of which each has a part: what one lacks is looked for in the next."""

    def __init__(self, parts: Sequence[WalArchive]) -> None:
        self._parts = parts
        self.description = " and ".join(part.description for part in parts)

    def archive_command(self) -> str:
        return self._parts[0].archive_command()

    def restore_command(self) -> str:
        return self._parts[0].restore_command()

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        return iter(sorted({name for part in self._parts for name in part.names(after)}))

    def fetch(self, name: str, path: str) -> bool:
        for part in self._parts:
            # What is encrypted in a store is not read here: the histories stay where the server's WAL arrives.
            with contextlib.suppress(BadOption):
                if part.fetch(name, path):
                    return True
        return False


class ShippedTo(NamedTuple):
    """The repositories that the WAL is shipped to. ``look``: what one has of it already, None: nothing. It is asked only where that is wanted: while a
    store is away WAL has to come into the directory all the same, also by a receiver that is begun anew."""

    repositories: Sequence[Repository]
    look: Callable[[Repository], Optional[WalArchive]]


class FileArchiver(Archiver):
    """Continuous archiving of one server into a directory. ``root`` is the repository's, which must be there: one that is
    missing most often is a mount that is."""

    name = "pg_basebackup"
    connects = False  # a shell command does not

    def __init__(
        self,
        root: str,
        server_name: str,
        host: Host,
        compression: Compression,
        accept_new_server: bool,
        stores: Optional[ShippedTo] = None,
    ) -> None:
        self._root, self._host, self._accept = root, host, accept_new_server
        self._server_name, self._stores = server_name, stores or ShippedTo((), lambda repository: None)
        self._directory = os.path.join(root, server_name, FOLDER)
        self._compression = compression
        self.wal: WalArchive = FileWal(self._directory, compression)

    def configure(self, check: bool) -> list[Step]:
        self._compression.check()
        command = self.wal.archive_command()
        if length(command) > _ROOM:
            raise BadOption(
                "repository.path", self._root, f"is too long for an archive_command ({length(command)} bytes of {_ROOM})",
                "Name a shorter path: a link to it will do.",
            )  # fmt: skip
        for program in ("cmp", "dd", "sync", "mv"):
            if shutil.which(program) is None:
                raise ToolError(f"The archive command needs the program {program}. Install coreutils and diffutils.")
        return self._make_directory(check)

    def _make_directory(self, check: bool) -> list[Step]:
        if not os.path.isdir(self._root):
            raise RepositoryError(f"{self._root} is not there, or no directory. Create it, or mount it.")
        there = os.path.isdir(self._directory)
        self._check_usable(there)
        if there:
            return []
        if not check:
            files.make_directory(self._directory, self._host.owner)
        return [Step(f"create the directory {self._directory}")]

    def _check_usable(self, there: bool) -> None:
        """Raise RepositoryError: the server's user cannot write into the directory, or not even reach where it would be made: one above it
        is another's, such as of a dump that root made."""
        directory = self._directory
        while not there and not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        argv = ["test", "-x", directory, *(["-a", "-w", directory] if there else [])]
        if subprocess.run(argv, check=False, **as_user(self._host.owner)).returncode:
            raise RepositoryError(
                f"{self._host.owner}, as whom the server's archive_command runs, cannot write into {directory}. Nothing was switched on. Give "
                f"it, and what is below, to {self._host.owner}: chown -R {self._host.owner}: {os.path.dirname(self._directory)}, or use "
                "another repository for the WAL than for the dumps that root makes."
            )

    def prepare(self, check: bool) -> list[Step]:
        path = marker_of(self._directory)
        mine = {"system_id": self._host.system_id, "data_directory": os.path.realpath(self._host.data_directory)}
        there = remembered(path, f"the WAL archive {self._directory}")
        if there == mine:
            return []
        if there is not None and there.get("system_id") != mine["system_id"] and not self._accept:
            way_out = "if it replaces the other one, set accept_new_server: true for one run, after the old archive was moved away"
            refuse_another(self._directory, str(there.get("system_id")), self._host.system_id or "not known", way_out)
        if not check:
            files.put(path, json.dumps(mine), self._host.owner)
        return [Step(f"mark {self._directory} as the archive of the server {self._host.system_id}")]

    @property
    def unshipped(self) -> Optional[str]:
        """A sentence, where WAL is to go on from here to stores, and nobody has shipped any yet; else None."""
        if not self._stores.repositories or os.path.exists(os.path.join(self._directory, SHIPPED)):
            return None
        where = " and ".join(repository.description for repository in self._stores.repositories)
        return (
            f"The server's WAL comes into {self._directory}, and nothing has brought it to {where} yet: run the playbook ship, with "
            "holdfast_ship_service: true for a service (module wal_ship)."
        )

    def leave(self, connection: Connection, check: bool) -> list[Step]:
        return end(marker_of(self._directory), self._host, check)

    @property
    def whole(self) -> WalArchive:
        there = (self._stores.look(repository) for repository in self._stores.repositories)
        return Together([self.wal, *(wal for wal in there if wal is not None)])

    def backups(self, problems: list[str]) -> Iterator[Record]:
        found: dict[str, Record] = {}
        for repository in [FileRepository(self._root), *self._stores.repositories]:
            for record in Shelf(repository, self._server_name).records(problems):
                if record.engine == "pg_basebackup" and record.verified_at:
                    found.setdefault(record.id, record)
        return iter(sorted(found.values(), key=lambda record: record.id))

    def check(self) -> None:
        if not os.access(self._directory, os.R_OK | os.X_OK):
            raise RepositoryError(
                f"{self._directory} is not there, or cannot be read. Mount it, or set archiving up first (state: present)."
            )
