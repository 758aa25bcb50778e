# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's options to the tiers of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.engine_tier import EngineRepository, EngineTier
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.identity import Identity
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import (
    keep_password,
    open_repository_engine,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import Ownership
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def policy_of(options: Mapping[str, Any], params: Mapping[str, Any]) -> Policy:
    """A repository's own retention takes precedence over the run's. Raises BadOption."""
    return Policy.from_option(options.get("retention") or params["retention"])


def request_of(
    params: Mapping[str, Any],
    engine: str,
    scope: Mapping[str, Any],
    enough: Sequence[str],
    encryption: Mapping[str, Any],
    created_by: str,
) -> BackupRequest:
    """What a module that makes backups is asked (``argspec.BACKUP``), by whatever engine. Raises BadOption."""
    return BackupRequest(
        engine=engine,
        scope=scope,
        encryption=encryption,
        enough=enough,
        created_by=created_by,
        id=check_name("backup_id", params["backup_id"]) if params["backup_id"] else None,
        max_age=parse_duration(params["max_age"], "max_age") if params["max_age"] else None,
        lock_wait=params["lock_wait"],
        pinned=params["pinned"],
        annotations=params["annotations"],
        accept_new_server=bool(params.get("accept_new_server")),  # captured objects have no server
    )


def folder_tiers(
    params: Mapping[str, Any], warnings: list[str], encryption: Optional[Encryption] = None
) -> list[FolderTier]:
    """Our folders in each of the repositories. ``encryption``: what is to open a backup that makes another one needless. Raises BadOption."""
    tiers = []
    for name, options, where in named_repositories(params):
        shelf = Shelf(open_repository(options, where), params["server_name"])
        identity = Identity(shelf, params["state_dir"])
        tiers.append(
            FolderTier(
                name,
                shelf,
                policy_of(options, params),
                warnings,
                identity,
                bool(params["accept_new_repository"]),
                encryption,
            )
        )
    return tiers


def engine_tier(params: Mapping[str, Any], connection: Connection, warnings: list[str]) -> EngineTier:
    """The repositories of the engine that is named, beside the server that is connected to. Raises BadOption, ServerError."""
    host = Host.running(connection, params)
    owned = Ownership(params, host)

    def before(check: bool, consent: Consent) -> list[Step]:
        owned.check_server(params["accept_new_server"], consent)
        owned.check_encryption(Consent())  # that is wal_archive's to change
        return keep_password(params, host, check) + ([] if owned.known else owned.claim(check))

    repositories = [
        EngineRepository(
            name,
            policy_of(options, params),
            str(options.get("path") or options.get("bucket") or options.get("container") or ""),
        )
        for name, options, _where in named_repositories(params)
    ]
    return EngineTier(
        open_repository_engine(params["engine"], params, host),
        host,
        repositories,
        warnings,
        before,
        [_opener(options, where, params["server_name"]) for _name, options, where in named_repositories(params)],
    )


def _opener(options: Mapping[str, Any], where: str, server_name: str) -> Callable[[], Shelf]:
    return lambda: Shelf(open_repository(options, where), server_name)


def present(connection: Connection) -> Present:
    """Where the server is now. Raises ServerError."""
    identity = facts.identify(connection)
    lsn = None if identity.in_recovery else facts.current_lsn(connection)
    return Present(identity.system_id, identity.timeline, Lsn.parse(lsn, "lsn") if lsn else None)
