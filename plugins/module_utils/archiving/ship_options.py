# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shipping by its options: from where, to where, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship import Shipper, ShipRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_store import ShippingStore
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FOLDER
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

_RECEIVER = 60.0  # seconds


def root_of(params: Mapping[str, Any]) -> Optional[str]:
    """The directory in which a server's WAL is kept on this host: ``wal_directory``, else the only repository of type file; None: neither."""
    if params.get("wal_directory"):
        return str(params["wal_directory"])
    stores = named_repositories(params) if params.get("repository") or params.get("repositories") else []
    files = [options["path"] for _name, options, _where in stores if options["type"] == "file" and options.get("path")]
    return str(files[0]) if len(files) == 1 else None


def await_directory(params: Mapping[str, Any], progress: Progress) -> None:
    """Give the receiver, which makes the directory, a minute where both are begun together. ``open_shipper`` says what is missing then."""
    root = root_of(params)
    if root is None:
        return
    path = os.path.join(root, str(params["server_name"]), FOLDER)
    progress.step(f"waiting for {path}")
    Waiter(_RECEIVER, pause=0.5).until({"there": lambda: os.path.isdir(path) or None})


def open_shipper(
    params: Mapping[str, Any], encryption: Encryption, scratch: str, progress: Progress
) -> tuple[WalDirectory, Shipper, list[ShippingStore]]:
    """What ships, as the options describe it. ``scratch`` is a private directory.

    Raises:
        BadOption: they do not make sense together.
    """
    server = check_name("server_name", params["server_name"])
    root = root_of(params)
    if root is None:
        raise BadOption(
            "wal_directory", None, "is missing, and repositories have not one directory that the WAL comes into",
            "Name the one that wal_archive was given.",
        )  # fmt: skip
    for option, least in (("jobs", 1), ("keep", 1)):
        if params[option] < least:
            raise BadOption(option, params[option], "is too few", f"Use {least} or more.")
    directory = WalDirectory(root, server)
    encryption.check(encrypting=True)
    compression = Compression(params["compression"], params["compression_level"], remote=True)
    compression.check()
    stores, itself = [], False
    for name, options, where in named_repositories(params):
        repository = open_repository(options, where)
        path = os.path.join(os.path.expanduser(options.get("path") or ""), server, FOLDER)
        if options["type"] == "file" and os.path.realpath(path) == os.path.realpath(directory.path):
            itself = True
            continue
        stores.append(ShippingStore(name, repository, server, encryption, scratch))
    if not stores:
        raise BadOption(
            "repositories", [root], "has nothing to ship to but the directory itself", "Name a store beside it."
        )
    request = ShipRequest(
        compression, encryption, params["jobs"], None if itself else params["keep"], params["accept_new_server"]
    )
    return directory, Shipper(directory, stores, request, progress), stores
