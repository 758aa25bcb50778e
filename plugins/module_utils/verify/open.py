# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's options to a run that verifies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import open_to_read
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.folder import FolderCheck
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.run import VerifyRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.tiers import (
    EngineVerifyTier,
    FolderVerifyTier,
    VerifyTier,
)


def request_of(params: Mapping[str, Any]) -> VerifyRequest:
    """Raises BadOption."""

    def seconds(option: str) -> Optional[float]:
        return parse_duration(params[option], option) if params[option] else None

    limit = params["budget_bytes"]
    if limit is not None and limit <= 0:
        raise BadOption(
            "budget_bytes", limit, "is no number of bytes above zero", "Leave it out to read all that is due."
        )
    return VerifyRequest(
        params["level"],
        params["backup_id"] or None,
        params["full"],
        seconds("max_age"),
        seconds("budget_time"),
        limit,
    )


def tiers_of(params: Mapping[str, Any], secrets: Secrets, space: str, scratch: str) -> list[VerifyTier]:
    """Where the server's backups lie. ``space`` is a private directory, ``scratch`` one where much can be unpacked. Raises HoldfastError."""
    named = named_repositories(params) if params["repository"] or params["repositories"] else ()
    shelves = [(name, Shelf(open_repository(options, where), params["server_name"])) for name, options, where in named]
    if params["engine"] in WITH_REPOSITORY:
        return [EngineVerifyTier(open_to_read(params["engine"], params, space), [shelf for _name, shelf in shelves])]
    return [
        FolderVerifyTier(name, shelf, FolderCheck(shelf, secrets, scratch, params["bin_dir"]))
        for name, shelf in shelves
    ]
