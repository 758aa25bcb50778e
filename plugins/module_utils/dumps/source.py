# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where dumps come from: a backup of ours, or files that other tools made."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump, reading
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream, stream_of

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}


class Source:
    """What can be restored. ``name`` is for messages, ``identity`` recognises the same source again."""

    def __init__(self, name: str, dumps: list[Dump], globals_: Optional[Stream], record: Optional[Record]) -> None:
        self.name, self.dumps, self.globals, self.record = name, dumps, globals_, record
        self.identity = name
        #: databases of the server that a backup of all leaves out, each with the reason
        self.left_out: list[tuple[str, str]] = []
        #: settings of all roles in all databases, as PostgreSQL stores them (name=value)
        self.settings_for_all: list[str] = []

    def choose(self, names: tuple[str, ...]) -> list[Dump]:
        """The dumps of those databases, or all. Raises BadOption for one that is not there."""
        known = [dump.database for dump in self.dumps]
        missing = [name for name in names if name not in known]
        if missing:
            raise BadOption(
                "databases", missing, f"is not in {self.name}", f"It has: {', '.join(repr(name) for name in known)}."
            )
        return [dump for dump in self.dumps if not names or dump.database in names]


def select(shelf: Shelf, backup_id: str) -> Record:
    """The backup of that id, or the newest verified one for ``latest``.

    Raises:
        CatalogError: there is none.
        BadOption: it is a copy of a whole server, which pg_recover brings back.
    """
    if backup_id != "latest":
        record = shelf.get(backup_id)
        if record.kind != "logical":
            raise BadOption(
                "backup_id",
                backup_id,
                f"is a copy of the whole server, by {record.engine}",
                "Bring the server back by pg_recover (playbook recover), or name a dump.",
            )
        return record
    problems: list[str] = []
    records = list(shelf.records(problems))
    good = [record for record in records if record.verified_at and record.kind == "logical"]
    if not good:
        whole = sum(bool(record.verified_at) and record.kind != "logical" for record in records)
        raise CatalogError(
            f"There is no verified dump of the server {shelf.name!r} in {shelf.repository.description}. "
            + (f"There are {whole} copies of the whole server, for pg_recover (playbook recover). " if whole else "")
            + " ".join(problems)
        )
    return max(good, key=lambda record: record.stopped_at)


def from_backup(shelf: Shelf, record: Record, encryption: Encryption, names: tuple[str, ...]) -> Source:
    """A backup of ours as a source. Its cluster record is decrypted here: a wrong passphrase shows before anything else."""
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
                cluster = json.loads(stream(artifact).read())
            except ToolError as exc:
                raise ToolError(
                    f"The backup {record.id} cannot be read: is the passphrase or key right? {exc}"
                ) from exc
        if artifact.role == "globals":
            globals_ = stream(artifact)
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


def from_files(path: str, names: tuple[str, ...], encryption: Encryption) -> Source:
    """Files that other tools made: a dump of any format, compressed or not; a directory-format dump; a pg_dumpall
    script; or a folder of dumps, of which the latest of each wanted database is taken.

    Raises:
        BadOption: there is nothing there that can be restored.
    """
    if not os.path.exists(path):
        raise BadOption("source", path, "does not exist", "Name a dump, or a folder of dumps.")
    if not os.path.isdir(path) or _is_directory_dump(path):
        dump = _detect(path, names[0] if len(names) == 1 else None, encryption)
        return Source(path, [dump], None, None)
    if not names:
        raise BadOption(
            "source", path, "is a folder of dumps, and databases says not which", "Name databases, or one dump's file."
        )
    dumps = [_detect(_latest(path, name), name, encryption) for name in names]
    return Source(path, dumps, None, None)


def _is_directory_dump(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, f"toc.dat{suffix}")) for suffix in ("", ".gz"))


def _latest(path: str, name: str) -> str:
    """The newest dump of a database in a folder, also in postgres-backup-local's layout (last/NAME-latest.sql.gz)."""
    escaped = glob.escape(name)
    folder = glob.escape(path)
    found = [
        file
        for pattern in (f"{folder}/{escaped}[-_.]*", f"{folder}/last/{escaped}[-_.]*")
        for file in glob.glob(pattern)
        if not file.endswith((".sha256", ".md5", ".log", ".tmp")) and os.path.exists(file)
    ]
    latest = [file for file in found if "latest" in os.path.basename(file)]
    if not found:
        raise BadOption(
            "source", path, f"has no dump of the database {name!r}", f"Files named {name}-… are looked for."
        )
    return max(latest or found, key=os.path.getmtime)


def _detect(path: str, database: Optional[str], encryption: Encryption) -> Dump:
    if os.path.isdir(path):
        streams = {name: Stream(reading(os.path.join(path, name)), []) for name in sorted(os.listdir(path))}
        return Dump(database, "directory", streams)
    filters = encryption.decrypt() if path.endswith((".gpg", ".pgp")) else []
    head = Stream(reading(path), filters).head(4)
    method = next((method for magic, method in _MAGIC.items() if head.startswith(magic)), "none")
    compression = Compression(method)
    compression.check()
    stream = Stream(reading(path), filters + compression.decompress())
    head = stream.head(4096)
    if not head:
        raise BadOption("source", path, "is empty", "This is what a failed dump leaves. Use another one.")
    if head.startswith(b"PGDMP"):
        return Dump(database, "custom", {"dump": stream})
    if head[257:262] == b"ustar":
        return Dump(database, "tar", {"dump": stream})
    if b"\0" in head:
        raise BadOption("source", path, "is neither SQL nor an archive of pg_dump", "Name a dump.")
    return Dump(database, "plain", {"dump": stream}, cluster=b"database cluster dump" in head)
