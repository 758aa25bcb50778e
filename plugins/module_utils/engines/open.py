# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that there are, and how one is opened: its name and the user's options to what a run needs.

Adding an engine is a folder beside this file, a row in engine_table.py, which says what is true of it, and one in ``OPENED``, which says
what it is opened by. Which of them a server has, which.py says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import chain, is_whole
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import Presence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import not_encrypted_for
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ARCHIVING, KINDS, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.engine import BarmanCloud
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import FolderEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup import (
    instructions as physical_instructions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.engine import PgBasebackup
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.options import (
    MANIFEST,
    SPEC as PHYSICAL_SPEC,
    BaseOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump import instructions as dump_instructions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.engine import PgDump
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.options import (
    SPEC as DUMP_SPEC,
    DumpOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.adopt import adopt
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.engine import PgBackRest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    RepositoryEngineOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import WAL_TIMEOUT
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import (
    FileArchiver,
    ShippedTo,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import (
    WalReceiver,
    slot_name,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.engine import WalG
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.opening import closed
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    check_store,
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import (
    config_dir,
    make_config_dir,
    plan_config_dir,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of


@dataclass(frozen=True)
class Choice:
    """An engine that was chosen: the scope of its backups, which kinds make another one needless, what is written into
    RESTORE.txt, and the engine itself, which looks at the server when it is made."""

    name: str
    scope: dict[str, Any]
    enough: Sequence[str]
    instructions: Callable[[Record], str]
    make: Callable[[Sequence[Listing]], FolderEngine]


def _choose_dump(params: Mapping[str, Any], space: str, encryption: Encryption) -> Choice:
    dump = DumpOptions.from_params(params)

    def make(listings: Sequence[Listing]) -> FolderEngine:
        return PgDump(Address(params, space), dump, params["bin_dir"], encryption.method != "none", space)

    return Choice("pg_dump", dump.scope(), ("logical",), dump_instructions.write, make)


def _choose_base(params: Mapping[str, Any], space: str, encryption: Encryption) -> Choice:
    options = BaseOptions.from_params(params)

    def make(listings: Sequence[Listing]) -> FolderEngine:
        parent = _parent(listings, encryption) if options.kind == "incremental" else None

        def read_manifest(record: Record, path: str) -> None:
            _read_manifest(listings[0].shelf, record, encryption, path)

        address, encrypted = Address(params, space), encryption.method != "none"
        wal, slot = _archive_beside(listings), slot_name(listings[0].shelf.name)
        return PgBasebackup(address, options, params["bin_dir"], encrypted, space, parent, read_manifest, wal, slot)

    return Choice("pg_basebackup", options.scope(), options.enough(), physical_instructions.write, make)


@dataclass(frozen=True)
class Opened:
    """The class of an engine, the options that only it knows, as argument specification, and for one that writes into our folders what
    makes it of a module's options (those, a private directory, and how backups are encrypted)."""

    made_by: Union[type[FolderEngine], type[RepositoryEngine]]
    spec: Mapping[str, Any]
    choose: Optional[Callable[[Mapping[str, Any], str, Encryption], Choice]] = None


#: what every engine that copies whole servers knows
_PHYSICAL = {
    "kind": {"type": "str", "choices": list(KINDS)},
    "wal_timeout": {"type": "str", "default": f"{WAL_TIMEOUT // 60}min"},
}
OPENED: Mapping[str, Opened] = {
    "pg_dump": Opened(PgDump, DUMP_SPEC, _choose_dump),
    "pg_basebackup": Opened(PgBasebackup, {**_PHYSICAL, **PHYSICAL_SPEC}, _choose_base),
    "pgbackrest": Opened(PgBackRest, _PHYSICAL),
    "barman_cloud": Opened(BarmanCloud, _PHYSICAL),
    "wal_g": Opened(WalG, _PHYSICAL),
}
#: what each knows alone, together: the options of a module that makes backups
SPEC: dict[str, Any] = {name: spec for engine in OPENED.values() for name, spec in engine.spec.items()}


def choose(params: Mapping[str, Any], space: str, encryption: Encryption) -> Choice:
    """The engine that the options name, of those that write into our folders. ``space`` is a private directory.

    Raises:
        BadOption: an option that is another engine's, or makes no sense.
    """
    name: str = params["engine"]
    check_options(name, params)
    chosen = OPENED[name].choose
    if chosen is None:
        raise BadOption("engine", name, "keeps a repository of its own", "It does not write into a folder of ours.")
    return chosen(params, space, encryption)


def _archive_beside(listings: Sequence[Listing]) -> Optional[WalArchive]:
    """The WAL archive beside our backups, where each of the repositories has the server's."""
    found: Optional[WalArchive] = None
    for listing in listings:
        wal = wal_in(listing.shelf.repository, listing.shelf.name, _names_alone)
        if wal is None:
            return None
        found = found or wal
    return found


def _names_alone(marker: Mapping[str, Any]) -> Encryption:
    raise BadOption(
        "encryption", None, "is not used for this", "Names are looked at, and nothing else is read of the archive."
    )


def check_options(name: str, params: Mapping[str, Any]) -> None:
    """Raise BadOption for an option that only other engines know, and that was given another value than its default."""
    for other, engine in OPENED.items():
        for option, details in engine.spec.items():
            if other == name or option in OPENED[name].spec:
                continue
            if params.get(option) != details.get("default"):
                raise BadOption(
                    option, params[option], f"is an option of engine {other}, and engine is {name}", "Drop one of them."
                )


def _parent(listings: Sequence[Listing], encryption: Encryption) -> Optional[Record]:
    """The newest verified backup that an incremental one can be made upon: it, and all that it needs, is in every tier, whole as far
    as presence and size tell, and encrypted as this one is to be, for all who are to read it, by the same passphrase. Raises RepositoryError."""
    usable = [
        {record.id: record for record in listing.records if record.engine == "pg_basebackup" and record.verified_at}
        for listing in listings
    ]
    common = {
        backup_id: record for backup_id, record in usable[0].items() if all(backup_id in known for known in usable)
    }
    looks = [Presence(listing.shelf) for listing in listings]
    for record in reversed(in_order(common.values())):
        if is_whole(record, common) and not any(
            link.encryption.get("method") != encryption.method
            or not_encrypted_for(link, encryption.describe())
            or any(look.is_damaged(link) for look in looks)
            or closed(listings[0].shelf, link, encryption)
            for link in chain(record, common)
        ):
            return record
    return None


def _read_manifest(shelf: Shelf, record: Record, encryption: Encryption, path: str) -> None:
    found = [artifact.key for artifact in record.artifacts if artifact.role == "manifest"]
    if not found:
        raise CatalogError(f"The backup {record.id} has no {MANIFEST}. Take a full backup (kind: full).")
    key = shelf.key(record.id, found[0])
    try:
        stream_of(lambda: shelf.repository.open(key), key, encryption).save(path, lambda made, out: None)
    except HoldfastError as exc:
        raise CatalogError(
            f"The {MANIFEST} of {record.id}, on which an incremental backup is made, cannot be read: {exc} "
            "Take a full backup (kind: full)."
        ) from exc


def open_archiver(name: str, params: Mapping[str, Any], host: Host) -> Archiver:
    """What archives the server's WAL, by the engine ``name``, as the options describe it.

    Raises:
        BadOption: the engine cannot do what they ask.
    """
    if name == "pg_basebackup":
        return _open_directory(params, host)
    if params.get("streaming"):
        raise BadOption(
            "streaming",
            True,
            f"is not known to {name}",
            "It is pg_receivewal's, into one directory: engine: pg_basebackup.",
        )
    engine = open_repository_engine(name, params, host)
    if not isinstance(engine, Archiver):
        raise BadOption("engine", name, "archives no WAL", f"Use one of {', '.join(ARCHIVING)}.")
    return engine


def _open_directory(params: Mapping[str, Any], host: Host) -> Archiver:
    server = check_name("server_name", params["server_name"])
    root, stores = _directory_and_stores(params)
    encryption = params.get("encryption") or {}
    if encryption.get("method", "none") != "none" and (not stores or not params.get("wal_directory")):
        raise BadOption(
            "encryption.method", encryption["method"], "cannot be had for WAL that a shell command archives",
            "Let it be encrypted on its way to a store (wal_directory, and wal_ship), use engine: pgbackrest, or an encrypted file system.",
        )  # fmt: skip
    shipped = ShippedTo(
        [open_repository(options, where) for _name, options, where in stores],
        lambda repository: wal_in(repository, server, _names_alone),
    )
    if params.get("streaming"):
        # Not compressed, what is unfinished can be restored as well.
        plain = Compression(params["compression"] or "none", params["compression_level"])
        return WalReceiver(
            root, server, host, plain, params["accept_new_server"], shipped, bool(params.get("set_aside"))
        )
    compression = Compression(params["compression"] or "zstd", params["compression_level"])
    return FileArchiver(root, server, host, compression, params["accept_new_server"], shipped)


def _directory_and_stores(params: Mapping[str, Any]) -> tuple[str, list[tuple[str, Mapping[str, Any], str]]]:
    """Where the server's WAL comes on this host, and the repositories that it is to be shipped to. Raises BadOption."""
    stores = named_repositories(params)
    for _name, options, where in stores:
        check_store(options, where)
    if params.get("wal_directory"):
        root = str(params["wal_directory"])
        if not os.path.isabs(os.path.expanduser(root)):
            raise BadOption(
                "wal_directory", root, "is relative to wherever the module happens to run", "Write it from / on."
            )
    else:
        files = [options["path"] for _name, options, _where in stores if options["type"] == "file"]
        if len(files) != 1:
            kinds = " and ".join(sorted({options["type"] for _name, options, _where in stores}))
            raise BadOption(
                "engine", "pg_basebackup",
                f"has WAL come into one directory of this host, and the repositories are of type {kinds}",
                "Name that directory (wal_directory), with streaming: true for a receiver, and bring the WAL to the stores from there by wal_ship "
                "(role ship). Or use engine: pgbackrest, whose archive_command writes to stores and several repositories.",
            )  # fmt: skip
        root = str(files[0])
    here = os.path.realpath(os.path.expanduser(root))
    others = [
        entry
        for entry in stores
        if entry[1]["type"] != "file" or os.path.realpath(os.path.expanduser(entry[1]["path"])) != here
    ]
    return os.path.expanduser(root), others


def open_repository_engine(name: str, params: Mapping[str, Any], host: Host) -> RepositoryEngine:
    """An engine with a repository of its own. Raises BadOption."""
    made_by = OPENED[name].made_by
    if not issubclass(made_by, RepositoryEngine):
        raise BadOption("engine", name, "keeps no repository of its own", f"Use one of {', '.join(WITH_REPOSITORY)}.")
    stores: Sequence[Mapping[str, Any]] = [options for _name, options, _where in named_repositories(params)]
    options = RepositoryEngineOptions(
        server_name=check_name("server_name", params["server_name"]),
        repositories=stores,
        encryption=params.get("encryption"),
        compression=params.get("compression") or made_by.default_compression,
        level=params.get("compression_level"),
        jobs=params.get("jobs") or 1,
        config_dir=config_dir(params, host.owner),
        program=params["engine_program"],
        extra={str(key): str(value) for key, value in (params["engine_options"] or {}).items()},
    )
    return made_by(host, options)


def open_to_read(name: str, params: Mapping[str, Any], space: str) -> RepositoryEngine:
    """An engine's repository, to look into it from wherever we are: by the configuration that somebody else wrote, or by one
    in the private directory ``space``, so that nothing else is touched. Raises HoldfastError."""
    host = Host.of_directory(space, user=params.get("login_user"), bin_dir=params.get("bin_dir"))
    if params.get("engine_config"):
        if name != "pgbackrest":
            raise BadOption(
                "engine_config", params["engine_config"], f"is not read for {name}", "Name its repository instead."
            )
        server = check_name("server_name", params["server_name"])
        return adopt(host, server, params["engine_config"], params["engine_program"])
    engine = open_repository_engine(name, {**params, "config_dir": space}, host)
    engine.configure(False)
    return engine


def keep_password(params: Mapping[str, Any], host: Host, check: bool) -> list[Step]:
    """Write the password, by which the engine connects, into the passfile of the server's owner, unless ``check``. Returns what
    changes."""
    if host.passfile is None:
        return []
    secret = str(params["login_password"]).replace("\\", "\\\\").replace(":", "\\:")
    text = f"*:*:*:*:{secret}\n"
    with contextlib.suppress(OSError), open(host.passfile, encoding="utf-8") as stream:
        mode = os.stat(host.passfile).st_mode & 0o777
        if stream.read() == text and mode == 0o600 and owner_of(host.passfile) == host.owner:
            return []
    folder = os.path.dirname(host.passfile)
    doubt = plan_config_dir(folder, host.owner) if check else ""
    if not check:
        make_config_dir(folder, host.owner)
        put(host.passfile, text, host.owner)
    return [Step(f"write {host.passfile}, by which {host.owner} connects, with mode 0600{doubt}")]
