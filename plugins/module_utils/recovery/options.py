# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery by its options: what is wanted, and from where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import open_repository_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import physical_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import LAID_OUT, RecoveryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import (
    EngineSource,
    PhysicalSource,
    ShelfSource,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import make_config_dir
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target


def directory_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ``DirectoryRequest``, by the options that every module has that fills a data directory."""
    taken = (
        "data_directory",
        "backup_id",
        "bin_dir",
        "config_file",
        "service",
        "stop_server",
        "force",
        "accept_new_server",
        "accept_unsigned",
    )
    return {
        **{name: params[name] for name in taken},
        "settings": {str(name): str(value) for name, value in params["settings"].items()},
        "tablespaces": {str(name): str(value) for name, value in params["tablespace_locations"].items()},
        "confirm": tuple(params["confirm"]),
    }


def request(params: Mapping[str, Any]) -> RecoveryRequest:
    """What is wanted. Raises BadOption."""
    if params["in_place"] and not params["prepare"]:
        raise BadOption(
            "in_place",
            True,
            "is for what is laid out for another place",
            "Use it with prepare; here, name the server's own data_directory.",
        )
    if params["keep_archiving"] and not params["force"] and not params["in_place"]:
        raise BadOption(
            "keep_archiving",
            True,
            "would let two servers archive into one archive",
            "It is for a restore in place (force).",
        )
    options = dict(params["recovery_target"] or {})
    action = options.pop("action", "promote")
    target = Target.from_option(options, "recovery_target")
    if target.kind == "latest" and action != "promote":
        raise BadOption(
            "recovery_target.action",
            action,
            "means nothing without a target to stop at",
            "Name a target, or use promote.",
        )
    _check_snapshots(params)
    return RecoveryRequest(
        **directory_options(params),
        target=target,
        action=action,
        owner=params["owner"],
        user=params["login_user"],
        start=params["start"] and not params["prepare"],
        keep_archiving=params["keep_archiving"],
        wal_timeout=parse_duration(params["wal_timeout"], "wal_timeout"),
        prepare=params["prepare"],
        snapshots=params["snapshots"],
        in_place=params["in_place"],
    )


def _check_snapshots(params: Mapping[str, Any]) -> None:
    if params["snapshots"] != LAID_OUT:
        return
    if not params["prepare"]:
        raise BadOption(
            "snapshots", LAID_OUT, "wants prepare: true",
            "What was made of a snapshot is recovered by a pod of the server's own image, and not here.",
        )  # fmt: skip
    if params["backup_id"] == "latest":
        raise BadOption(
            "backup_id", "latest", "does not say which snapshot lies there",
            "Name the one that pvc_snapshot (state: restored, awaits_recovery: true) made the claims of.",
        )  # fmt: skip
    if params["tablespace_locations"]:
        raise BadOption(
            "tablespace_locations", dict(params["tablespace_locations"]), "moves nothing of a snapshot",
            "Mount each of its claims where the server had it.",
        )  # fmt: skip


def source(params: Mapping[str, Any], secrets: Secrets, config_dir: str) -> PhysicalSource:
    """Where the backups are. In ``config_dir`` an engine's configuration of this restore alone is written, apart: the live server's is
    never touched. Raises HoldfastError."""
    name = physical_engine(params, copies=True)
    if name == "pg_basebackup":
        shelf = Shelf(open_repository(params["repository"]), params["server_name"])
        shelf.repository.check(write=False)
        return ShelfSource(shelf, secrets, wal_in(shelf.repository, shelf.name, secrets.of_wal))
    host = Host.of_directory(params["data_directory"], params["owner"], params["login_user"], params["bin_dir"])
    engine = open_repository_engine(name, {**params, "config_dir": os.path.join(config_dir, "restore")}, host)
    make_config_dir(config_dir, host.owner)
    engine.configure(False)
    return EngineSource(engine, lambda: Shelf(open_repository(params["repository"]), params["server_name"]))
