# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where dumps come from: a backup of ours, or files that other tools made."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import latest, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import Presence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import PartsRequest, without_rows
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE, WITHOUT_DATA
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import check_signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream, stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump, reading
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.folder import (
    dump_in,
    is_directory_dump,
    not_there,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.header import (
    HEAD,
    archive,
    other,
    packed,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.judge import ONLY_ROWS, judge
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

_ROWS = re.compile(r"\d+\.dat(\.(gz|lz4|zst))?|blobs(_\d+)?\.toc")  # what pg_dump calls them in a directory


class Source:
    """What can be restored. ``name`` is for messages, ``identity`` recognises the same source again, wherever it lies."""

    def __init__(self, name: str, dumps: list[Dump], globals_: Optional[Stream], record: Optional[Record]) -> None:
        self.name, self.dumps, self.globals, self.record = name, dumps, globals_, record
        #: the newest major version of a program that made an archive here, and what it is
        self.made_by = max((dump.archive.needs for dump in dumps if dump.archive), default=0)
        if record:
            self.made_by = int(record.engine_version.split(".")[0])
        #: databases of the server that a backup of all leaves out, each with the reason
        self.left_out: list[tuple[str, str]] = []
        #: why it is refused unless accept_unsigned is given
        self.unsigned: Optional[CatalogError] = None
        #: settings of all roles in all databases, as PostgreSQL stores them (name=value)
        self.settings_for_all: list[str] = []
        #: what a backup of ours recorded beside the dumps: settings, tablespaces and more, of the server as a whole
        self.cluster: Mapping[str, Any] = {}

    @property
    def identity(self) -> str:
        """What it is, whatever it is called: by its content."""
        if self.record:  # an id may be used again, for another backup
            content = "".join(f"{artifact.key}\0{artifact.sha256}\n" for artifact in self.record.artifacts)
            return f"{self.name}, sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        return " ".join(dump.identity or "" for dump in self.dumps)

    def understand(self, tools: Tools, server_major: int, options: RestoreOptions) -> None:
        """Read and judge what other tools made, and scripts of ours, before anything is touched. Raises BadOption, ToolError."""
        names = options.databases
        for dump in self.choose(names) if self.record else self.dumps:
            if options.no_tablespaces and dump.properties:
                dump.properties = {**dump.properties, "tablespace": "pg_default"}
            try:
                judge(dump, tools, server_major, names[0] if len(names) == 1 else dump.database, options.target_db)
            except OSError as exc:
                raise unreadable(dump.shown, exc) from exc
            self._tell_of_public(dump, server_major, options)
            if dump.origin is not None and dump.script and dump.script.only_rows and not options.data_only:
                raise BadOption(
                    "source", dump.shown, "fills tables, and makes none: it is a dump of rows alone", ONLY_ROWS
                )
            if dump.cluster and (names or options.target_db):
                raise BadOption(
                    "source", dump.shown, f"is a script of a whole cluster, with {', '.join(map(repr, dump.script.databases)) if dump.script else ''}",
                    "Single databases cannot be chosen from it: restore it into an empty server, without databases and target_db, and take "
                    "them from there by pg_backup and pg_restore.",
                )  # fmt: skip

    def _tell_of_public(self, dump: Dump, server_major: int, options: RestoreOptions) -> None:
        """What PUBLIC could do by default, and cannot since PostgreSQL 15, is in no dump."""
        said = str(self.record.server["version"]) if self.record else (dump.script.of or "") if dump.script else ""
        major = int(said.partition(".")[0]) if said.partition(".")[0].isdecimal() else server_major
        if major < 15 <= server_major and not options.data_only and not dump.cluster:
            dump.notes.append(
                f"{dump.described if dump.origin else repr(dump.database)} is of PostgreSQL {said}: since 15 only a database's owner may make anything in its "
                "schema public. Roles that did so need GRANT CREATE ON SCHEMA public (the dump has it only where somebody had granted it)."
            )

    def choose(self, names: tuple[str, ...]) -> list[Dump]:
        """The dumps of those databases, or all. Raises BadOption for one that is not there."""
        known = [dump.database for dump in self.dumps]
        missing = [name for name in names if name not in known]
        if missing:
            raise BadOption(
                "databases", missing, f"is not in {self.name}", f"It has: {', '.join(repr(name) for name in known)}."
            )
        return [dump for dump in self.dumps if not names or dump.database in names]


def select(shelf: Shelf, backup_id: str, before: Optional[str], options: RestoreOptions, warnings: list[str]) -> Record:
    """The backup of that id, or for ``latest`` the newest verified one that has what is asked for, and ended ``before`` a moment. What a runbook
    kept of the broken state is taken by its id alone.

    Raises:
        CatalogError: there is none.
        BadOption: it is a copy of a whole server, which pg_recover brings back; or the moment is none, or not before it.
    """
    moment = parse_time(before, "before") if before else None
    if backup_id != "latest":
        record = shelf.get(backup_id)
        if moment is not None and stopped(record) >= moment:
            raise BadOption(
                "backup_id", backup_id, f"ended at {record.stopped_at}, which is not before {before}", "Name an older one, or change before."
            )  # fmt: skip
        if record.engine in WITHOUT_DATA:
            raise BadOption(
                "backup_id", backup_id, "has the objects of a server in Kubernetes, and no data", "They are made again by k8s_capture (state: restored)."
            )  # fmt: skip
        if record.kind != "logical":
            raise BadOption(
                "backup_id",
                backup_id,
                f"is a copy of the whole server, by {record.engine}",
                "Bring the server back by pvc_snapshot (state: restored), or name a dump."
                if record.engine in ELSEWHERE
                else "Bring the server back by pg_recover (playbook recover), or name a dump.",
            )
        empty = [] if options.schema_only else without_rows(record, options.tables)
        if empty:
            raise BadOption(
                "tables",
                list(options.tables),
                f"has {', '.join(empty)}, whose rows are not in the backup {record.id} (it was made with exclude_table_data)",
                "Name another backup, or take the definitions alone by schema_only.",
            )
        return record
    found = look(shelf)
    warnings += found.problems
    wanted = PartsRequest(options.databases, options.schemas, options.tables, options.schema_only, options.data_only)
    presence, where = Presence(shelf), f"{shelf.name} in {shelf.repository.description}"
    if not found.records:
        others = sorted(name for name in shelf.repository.folders("") if NAME.fullmatch(name))
        named = f" There are: {', '.join(others[:20])}." if others else ""
        raise CatalogError(
            f"There is no backup of the server {shelf.name!r} in {shelf.repository.description}. Is server_name right?{named} "
            + " ".join(found.problems)
        )
    candidates = [record for record in found.records if moment is None or stopped(record) < moment]
    if not candidates:
        raise CatalogError(
            f"No backup in {where} ended before {before}: the oldest ended at {min(found.records, key=stopped).stopped_at}."
        )
    if broken := [record.id for record in candidates if _is_what_was_broken(record)]:
        told = f"{', '.join(broken)}, which a runbook kept of the broken state"
        candidates = [record for record in candidates if record.id not in broken]
        if not candidates:
            raise CatalogError(f"There is only {told}, in {where}. Name it by backup_id where it is wanted.")
        warnings.append(f"Passed over: {told}.")
    while True:
        chosen = latest(candidates, wanted, utcnow(), where, {**found.failed, **presence.look([])})
        if not presence.is_damaged(chosen.record):
            warnings += chosen.warnings
            return chosen.record


def _is_what_was_broken(record: Record) -> bool:
    """Whether the role runbook made it, of what it was about to replace (``step_copy.yml``)."""
    return "runbook" in record.annotations and record.annotations.get("state") == "broken"


def from_backup(
    shelf: Shelf, record: Record, encryption: Encryption, names: tuple[str, ...], asked: Mapping[str, Any]
) -> Source:
    """A backup of ours as a source. Its cluster record is decrypted here: a wrong passphrase shows before anything else. ``asked`` is the
    user's option encryption."""
    if record.encryption["method"] != "none" and encryption.method == "none":
        raise BadOption(
            "encryption", None, f"is missing, and the backup {record.id} is encrypted ({record.encryption['method']})",
            "Give encryption.method and the passphrase, or the keyring.",
        )  # fmt: skip
    missing = [name for name in names if name not in {entry["name"] for entry in record.databases}]
    if missing:
        has = ", ".join(repr(entry["name"]) for entry in record.databases)
        raise BadOption("databases", missing, f"is not in the backup {record.id}", f"It has: {has}.")

    def stream(artifact: Artifact, unpack: bool = True) -> Stream:
        return stream_of(
            lambda: shelf.repository.open(shelf.key(record.id, artifact.key)), artifact.key, encryption, unpack
        )

    cluster: dict[str, Any] = {}
    globals_ = None
    for artifact in record.artifacts:
        if artifact.role == "cluster":
            try:
                cluster = bounded.loads(stream(artifact).read())
            except (ToolError, ValueError) as exc:
                raise ToolError(
                    f"The backup {record.id} cannot be read: is the passphrase or key right? {exc}"
                ) from exc
        if artifact.role == "globals":
            globals_ = stream(artifact)
    unsigned = check_signature(record, encryption, asked)
    properties = {row["name"]: row for row in cluster.get("databases", [])}
    dumps = []
    for entry in record.databases:
        name, native = entry["name"], entry["format"] == "directory" and entry.get("native")
        artifacts = [artifact for artifact in record.artifacts if artifact.database == name]
        sizes = [artifact.raw_size for artifact in artifacts]
        dumps.append(
            Dump(
                name,
                entry["format"],
                {_plain_name(item.key, bool(native)): stream(item, not native) for item in artifacts},
                properties.get(name),
                cluster.get("contents", {}).get(name, {}),
                None if None in sizes else sum(size for size in sizes if size is not None),
            )
        )
    source = Source(f"the backup {record.id}", dumps, globals_, record)
    source.unsigned, source.cluster = unsigned, cluster
    if not record.scope.get("databases"):
        held = {entry["name"] for entry in record.databases} | {"template0", "template1"}
        source.left_out = [
            (name, "it is a template" if row.get("is_template") else "it took no connections")
            for name, row in properties.items()
            if name not in held
        ]
    for row in cluster.get("role_settings", []):
        if not row["database"] and not row["role"]:
            source.settings_for_all = row["settings"]
    return source


def _plain_name(key: str, native: bool) -> str:
    """An artifact's file name without the suffixes that we added."""
    name = os.path.basename(key)
    name = name[: -len(".gpg")] if name.endswith(".gpg") else name
    for suffix in SUFFIXES.values() if not native else ():
        if suffix and name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def unreadable(path: str, exc: OSError) -> BadOption:
    """A file that cannot be read at all."""
    return BadOption(
        "source", path, f"cannot be read: {exc.strerror or exc}: {exc.filename or path}",
        "Nothing was touched. May the user who runs this read it, and is its disk well?",
    )  # fmt: skip


def from_files(path: str, names: tuple[str, ...], encryption: Encryption, by_date: bool = False) -> Source:
    """As ``_from_files``. Raises BadOption for what cannot be read, too."""
    try:
        return _from_files(path, names, encryption, by_date)
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _from_files(path: str, names: tuple[str, ...], encryption: Encryption, by_date: bool) -> Source:
    """Files that other tools made: a dump of any format, compressed or not; a directory-format dump; a pg_dumpall
    script; or a folder of dumps, of which the latest of each wanted database is taken (folder.py). ``by_date``: the one of the last moment in
    its name, whatever is called latest.

    Raises:
        BadOption: there is nothing there that can be restored, or it is not clear what.
    """
    if not os.path.exists(path):
        raise not_there(path)
    if not os.path.isdir(path) or is_directory_dump(path):
        dump = _detect(path, names[0] if len(names) == 1 else None, encryption)
        return Source(path, [dump], None, None)
    if os.path.exists(os.path.join(path, "PG_VERSION")):
        raise BadOption(
            "source",
            path,
            "is a data directory, not a dump",
            "A whole server is brought back by pg_recover, from a backup.",
        )
    if any(_ROWS.fullmatch(name) for name in os.listdir(path)):
        raise BadOption(
            "source", path, "is what is left of a dump in directory format: its toc.dat, which says what is in it, is missing",
            "Look where it was copied from: a whole one has toc.dat (or toc.dat.gz). Nothing was touched.",
        )  # fmt: skip
    if not names:
        raise BadOption(
            "source", path, "is a folder of dumps, and databases says not which", "Name databases, or one dump's file."
        )
    dumps = []
    for name in names:
        dumps.append(_detect(dump_in(path, name, by_date), name, encryption))
        dumps[-1].by_name = True
    return Source(path, dumps, None, None)


def _detect(path: str, database: Optional[str], encryption: Encryption) -> Dump:
    if os.path.isdir(path):
        files = [name for name in sorted(os.listdir(path)) if os.path.isfile(os.path.join(path, name))]
        dump = Dump(database, "directory", {name: Stream(reading(os.path.join(path, name)), []) for name in files})
        return _known(dump, path, dump.streams["toc.dat"].head(HEAD) if "toc.dat" in files else b"")
    if not os.path.isfile(path):
        raise BadOption("source", path, "is neither a file nor a folder", "Name a dump, or a folder of dumps.")
    filters = encryption.decrypt() if path.endswith((".gpg", ".pgp")) else []
    if path.endswith((".gpg", ".pgp")) and not filters:
        raise BadOption(
            "encryption", None, f"is missing, and {path} is encrypted by gpg", "Give encryption.passphrase."
        )
    method = packed(Stream(reading(path), filters).head(16))
    stream = Stream(reading(path), [*filters, *_unpack(method)])
    head = _head(stream, path)
    if not head:
        raise BadOption("source", path, "is empty", "This is what a failed dump leaves. Use another one.")
    strange = other(head)
    if strange is not None:
        raise BadOption("source", path, f"is {strange.what}", strange.way_out)
    if packed(head) is not None:
        raise BadOption(
            "source", path, f"is packed twice (within, by {packed(head)})", "Unpack it once, and name that."
        )
    kind = "custom" if head.startswith(b"PGDMP") else "tar" if head[257:262] == b"ustar" else "plain"
    dump = Dump(database, kind, {"dump": stream}, cluster=kind == "plain" and b"database cluster dump" in head)
    return _known(dump, path, head)


def _head(stream: Stream, path: str) -> bytes:
    try:
        return stream.head(HEAD)
    except ToolError as exc:
        raise BadOption(
            "source", path, f"cannot be unpacked: {exc}", "It was cut off or damaged: use another one."
        ) from exc


def _known(dump: Dump, path: str, head: bytes) -> Dump:
    """With what its header tells, and by what it is recognised again."""
    dump.origin = path
    dump.remember()
    dump.identity = _fingerprint(path)
    if dump.format == "plain":
        return dump
    dump.archive = archive(head)
    if dump.archive is None or dump.archive.entries is None or dump.archive.version == (0, 0):
        raise BadOption(
            "source", path, f"is an archive in {dump.format} format whose header is damaged",
            "Was it sent as text, so that line ends were changed? Fetch it anew as binary, or use another one.",
        )  # fmt: skip
    if dump.archive.entries <= 0:
        raise BadOption(
            "source", path, "is an archive with nothing in it", "This is what a failed dump leaves. Use another one."
        )
    return dump


def _unpack(method: Optional[str]) -> list[Command]:
    """The programs that unpack what another tool packed. Raises ToolError when one is missing."""
    if method in ("xz", "bzip2"):
        if shutil.which(method) is None:
            raise ToolError(
                f"The dump is compressed by {method}, which is not in PATH. Install it, or unpack the dump first."
            )
        return [Command([method, "-q", "-d", "-c"])]
    compression = Compression(method or "none")
    compression.check()
    return compression.decompress()


def _fingerprint(path: str) -> str:
    """A dump's content in one line: the same dump is the same wherever it lies, and another one at the same path is not."""
    digest = hashlib.sha256()
    folder = os.path.isdir(path)
    for name in sorted(os.listdir(path)) if folder else [path]:
        file = os.path.join(path, name)
        if os.path.isfile(file):
            digest.update(f"{name if folder else ''}\0".encode("utf-8", "surrogateescape"))
            with open(file, "rb") as stream:
                while True:
                    data = stream.read(1 << 20)
                    if not data:
                        break
                    digest.update(data)
    return f"sha256:{digest.hexdigest()}"
