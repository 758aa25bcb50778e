# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine archives the WAL: its name and its options to what a run needs."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.engine import BarmanCloud
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.adopt import adopt
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.engine import PgBackRest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    RepositoryEngineOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileArchiver
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import WalReceiver
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.engine import WalG
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import check_store, named_repositories
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of


def engine_name(params: Mapping[str, Any]) -> str:
    """The engine that the options name, or that goes best with the repository: a shell command into a directory of this
    host, pgBackRest into a store."""
    if params["engine"]:
        return str(params["engine"])
    stores = [options for _name, options, _where in named_repositories(params)]
    return "pg_basebackup" if len(stores) == 1 and stores[0]["type"] == "file" else "pgbackrest"


def open_archiver(params: Mapping[str, Any], host: Host) -> Archiver:
    """The archiver that the options describe.

    Raises:
        BadOption: the engine cannot do what they ask.
    """
    name = engine_name(params)
    if name != "pg_basebackup":
        if params.get("streaming"):
            raise BadOption(
                "streaming",
                True,
                f"is not known to {name}",
                "It is pg_receivewal's, into one directory: engine: pg_basebackup.",
            )
        return open_repository_engine(name, params, host)
    stores = named_repositories(params)
    options = stores[0][1]
    if len(stores) > 1 or options["type"] != "file":
        raise BadOption(
            "engine",
            name,
            "archives WAL into one directory only",
            "Use engine: pgbackrest for stores and several places.",
        )
    encryption = params.get("encryption") or {}
    if encryption.get("method", "none") != "none":
        raise BadOption(
            "encryption.method", encryption["method"], "cannot be had for WAL that a shell command archives",
            "Use engine: pgbackrest, which encrypts it, or an encrypted file system.",
        )  # fmt: skip
    check_store(options, stores[0][2])
    server = check_name("server_name", params["server_name"])
    if params.get("streaming"):
        # Not compressed, what is unfinished can be restored as well.
        plain = Compression(params["compression"] or "none", params["compression_level"])
        return WalReceiver(options["path"], server, host, plain, params["accept_new_server"])
    compression = Compression(params["compression"] or "zstd", params["compression_level"])
    return FileArchiver(options["path"], server, host, compression, params["accept_new_server"])


def open_repository_engine(name: str, params: Mapping[str, Any], host: Host) -> RepositoryEngine:
    """An engine with a repository of its own. Raises BadOption."""
    stores: Sequence[Mapping[str, Any]] = [options for _name, options, _where in named_repositories(params)]
    options = RepositoryEngineOptions(
        server_name=check_name("server_name", params["server_name"]),
        repositories=stores,
        encryption=params.get("encryption"),
        # Barman's backups know no zstd.
        compression=params["compression"] or ("gzip" if name == "barman_cloud" else "zstd"),
        level=params["compression_level"],
        jobs=params.get("jobs") or 1,
        config_dir=params["config_dir"],
        program=params["engine_program"],
        extra={str(key): str(value) for key, value in (params["engine_options"] or {}).items()},
    )
    makers: dict[str, Callable[[Host, RepositoryEngineOptions], RepositoryEngine]] = {
        "pgbackrest": PgBackRest,
        "barman_cloud": BarmanCloud,
        "wal_g": WalG,
    }
    return makers[name](host, options)


def open_to_read(name: str, params: Mapping[str, Any], space: str) -> RepositoryEngine:
    """An engine's repository, to look into it from wherever we are: by the configuration that somebody else wrote, or by one
    in the private directory ``space``, so that nothing else is touched. Raises HoldfastError."""
    host = Host(
        data_directory=space,
        owner=pwd.getpwuid(os.geteuid()).pw_name,
        port=5432,
        socket_directory="",
        user=params.get("login_user") or "postgres",
        bin_dir=params.get("bin_dir") or "",
    )
    if params.get("engine_config"):
        if name != "pgbackrest":
            raise BadOption(
                "engine_config", params["engine_config"], f"is not read for {name}", "Name its repository instead."
            )
        server = check_name("server_name", params["server_name"])
        return adopt(host, server, params["engine_config"], params["engine_program"])
    keeper = open_repository_engine(name, {**params, "config_dir": space}, host)
    keeper.configure(False)
    return keeper


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
    if not check:
        os.makedirs(os.path.dirname(host.passfile), mode=0o755, exist_ok=True)
        put(host.passfile, text, host.owner)
    return [Step(f"write {host.passfile}, by which {host.owner} connects, with mode 0600")]
