# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a server's physical backups and WAL are kept by: one question, one answer, for everybody who asks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ARCHIVING, ENGINES
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, RepositoryError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import engine_of


def physical_engine(params: Mapping[str, Any], command: Optional[str] = None, copies: bool = False) -> str:
    """The engine that a server's physical backups and WAL are kept by.

    It is the one that ``engine`` names; else the one that keeps an archive of this server in the repository already, where there are
    several the one that the running server's ``command`` (its ``archive_command``, where that is known) is of; else, where ``copies``
    are looked for, pg_basebackup if there are some of it; else the one that goes best with the repository: a shell command into one
    directory, pgBackRest into a store or several. Where the repository cannot be looked into from here, the command alone decides.

    Raises:
        BadOption: several keep an archive there, and nothing tells which one is meant.
    """
    found = keeping_engine(params, command)
    if found:
        return found
    server, stores = check_name("server_name", params["server_name"]), named_repositories(params)
    if copies and any(_has_copies(Shelf(repository, server)) for repository in _opened(params)):
        return "pg_basebackup"
    return "pg_basebackup" if len(stores) == 1 and stores[0][1]["type"] == "file" else "pgbackrest"


def keeping_engine(params: Mapping[str, Any], command: Optional[str] = None) -> Optional[str]:
    """The same, without the default: None where nobody keeps an archive of the server. Raises BadOption."""
    if params.get("engine"):
        return str(params["engine"])
    if params.get("streaming") or params.get("wal_directory"):
        return "pg_basebackup"  # pg_receivewal's is the same archive
    server = check_name("server_name", params["server_name"])
    opened = list(_opened(params))
    found = sorted({name for repository in opened for name in engines_keeping(repository, server)})
    archiving = engine_of(command or "")
    if archiving in found or (archiving in ENGINES and len(opened) < len(named_repositories(params))):
        return archiving
    if len(found) > 1:
        raise BadOption(
            "engine",
            found,
            f"keep an archive of {server} there, and nothing says which one is meant",
            "Name the engine.",
        )
    return found[0] if found else None


def _opened(params: Mapping[str, Any]) -> Iterator[Repository]:
    """The repositories that can be looked into from here: what is wrong with one, the engine that wants to use it will tell."""
    for _name, options, where in named_repositories(params):
        with contextlib.suppress(ToolError, RepositoryError):
            repository = open_repository(options, where)
            repository.check(write=False)
            yield repository


def engines_keeping(repository: Repository, server: str) -> Iterator[str]:
    """The engines that keep an archive of the server there."""
    for name in ARCHIVING:
        if any(_holds(repository, folder.format(server=server)) for folder in ENGINES[name].archive):
            yield name


def _holds(repository: Repository, folder: str) -> bool:
    with contextlib.suppress(RepositoryError):
        if repository.remote:
            return next(iter(repository.list(folder)), None) is not None
        parent, _slash, name = folder.rpartition("/")
        return name in repository.folders(parent)
    return False


def _has_copies(shelf: Shelf) -> bool:
    with contextlib.suppress(RepositoryError):
        return any(record.engine == "pg_basebackup" for record in shelf.records([]))
    return False
