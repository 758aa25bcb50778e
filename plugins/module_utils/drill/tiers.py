# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiers that drills take their backups from, and what there is to drill in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import Drill, drills
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.choosing import next_tier
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import ROTATE
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import keeping_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import options as recovery_options
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)


@dataclass
class Tier:
    """A repository by its name. ``shelf`` None: it could not be opened, and ``error`` says why."""

    name: str
    options: Mapping[str, Any]
    shelf: Optional[Shelf] = None
    error: Optional[HoldfastError] = None
    drills: Sequence[Drill] = ()

    @property
    def last(self) -> Optional[Drill]:
        """The last drill out of it."""
        return self.drills[-1] if self.drills else None


@dataclass
class Candidates:
    """What can be drilled out of one tier: ``dumps``, and ``copies`` out of ``source``."""

    dumps: list[Record] = field(default_factory=list)
    copies: list[Record] = field(default_factory=list)
    source: Optional[PhysicalSource] = None

    @property
    def all(self) -> list[Record]:
        """Dumps and copies alike."""
        return [*self.dumps, *self.copies]


def open_tiers(params: Mapping[str, Any]) -> list[Tier]:
    """Each repository that the options name, with the drills out of it. What cannot be opened is an error of that tier alone.

    Raises:
        BadOption: an option is wrong.
    """
    found = []
    for name, options, where in named_repositories(params):
        tier = Tier(name, options)
        try:
            tier.shelf = Shelf(open_repository(options, where), params["server_name"])
            tier.shelf.repository.check(write=False)
            tier.drills = drills(tier.shelf)
        except BadOption:
            raise
        except HoldfastError as exc:
            tier.error = exc
        found.append(tier)
    return found


def choose_tier(tiers: Sequence[Tier], wanted: Optional[str]) -> Tier:
    """The one that is named, the next in its turn, or the first. Raises BadOption."""
    names = [tier.name for tier in tiers]
    if wanted == ROTATE:
        return tiers[names.index(next_tier(names, {tier.name: tier.last for tier in tiers}))]
    if wanted is None:
        return tiers[0]
    if wanted not in names:
        raise BadOption("tier", wanted, "is no name of a repository", f"There are {', '.join(names)}; or write rotate.")
    return tiers[names.index(wanted)]


def candidates(
    tier: Tier,
    params: Mapping[str, Any],
    secrets: Secrets,
    directory: str,
    owner: str,
    config_dir: str,
    warnings: list[str],
) -> Candidates:
    """What there is in a tier: of the engine that is named, else of all. ``directory``: where the drill's server would be, its
    ``owner``'s.

    Raises:
        HoldfastError: it cannot be read.
    """
    if tier.shelf is None:
        raise tier.error or HoldfastError(f"The repository {tier.name} cannot be read.")
    engine, found = params["engine"], Candidates()
    one = {**params, "repository": tier.options, "repositories": None, "data_directory": directory, "owner": owner}
    records = [record for record in tier.shelf.records(warnings) if record.verified_at]
    if engine in (None, "pg_dump"):
        found.dumps = [record for record in records if record.engine == "pg_dump"]
    if engine == "pg_dump":
        return found
    keeper = keeping_engine(one)
    if engine is None and keeper not in WITH_REPOSITORY and not any(item.engine == "pg_basebackup" for item in records):
        return found
    found.source = recovery_options.source(one, secrets, config_dir)
    problems: list[str] = []
    found.copies = found.source.records(problems)
    warnings += problems if found.copies else []
    return found
