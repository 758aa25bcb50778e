# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of each repository that has WAL of a server, by itself: a recovery reads backups and WAL from one of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving import audit
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE, KINDS
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import silence
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import (
    Decrypting,
    folder_of,
    wal_in,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import keeping_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.removal import Removal


@dataclass
class Audited:
    """One repository. ``report`` None: there is none, and ``error`` says why it could not be read, or ``backups`` how many backups of the whole
    server it has without any WAL. ``several``: it is one of several, so that each word on it
    begins with its name."""

    name: str
    several: bool
    wal: Optional[WalArchive] = None
    report: Optional[audit.Report] = None
    error: Optional[str] = None
    backups: int = 0
    #: manifests that cannot be read, so that nobody knows what their backups need
    unread: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def label(self) -> dict[str, str]:
        """What a result's item says of where it is from."""
        return {"tier": self.name} if self.several else {}

    def named(self, text: str) -> str:
        return f"{self.name}: {text}" if self.several else text

    def findings(self) -> list[dict[str, Any]]:
        """As users get them."""
        if self.report is None and self.error is None:
            text = f"it has {self.backups} backups of the whole server, and no WAL: no moment after their ends can be reached from there"
            return [{"level": "warning", "code": "no_wal", "text": self.named(text), "names": [], **self.label}]
        if self.report is None:
            text = f"its archive was not audited, so that what can be reached from there is not known: {self.error}"
            return [{"level": "error", "code": "unread", "text": self.named(text), "names": [], **self.label}]
        found = [audit.describe(finding) for finding in self.report.findings]
        return [{**one, "text": self.named(one["text"]), **self.label} for one in found]

    def windows(self) -> list[dict[str, Any]]:
        return [window.to_dict() for window in self.report.windows] if self.report else []

    @property
    def looked_at(self) -> int:
        return self.report.looked_at if self.report else 0

    def removable(self, warnings: list[str]) -> list[Removal]:
        """What no backup of this repository needs; why there is nothing goes to ``warnings``."""
        if self.report is None or self.wal is None:
            return []
        if self.report.unplaced:
            warnings.append(
                self.named(
                    f"Nothing is removed: which WAL {', '.join(self.report.unplaced)} need is not known, as their manifests do not say."
                )
            )
        if self.unread:
            warnings.append(
                self.named("Nothing is removed while there are manifests that cannot be read: their WAL is not known.")
            )
            return []
        return audit.removable(self.report, self.wal)

    def remove(self, chosen: Sequence[Removal]) -> None:
        """Raises HoldfastError."""
        if chosen and self.wal is not None:
            audit.remove(self.wal, chosen)


def each_tier(params: Mapping[str, Any], decrypting: Decrypting, space: str, check: bool) -> list[Audited]:
    """Audit each repository that has WAL; one of several that cannot be read is a finding.

    Raises:
        BadOption: none of them has any.
        HoldfastError: the only one cannot be read.
    """
    tiers: list[Audited] = []
    without: list[str] = []
    repositories = named_repositories(params)
    for name, options, where in repositories:
        tier = Audited(name, len(repositories) > 1)
        try:
            shelf = Shelf(open_repository(options, where), params["server_name"])
            shelf.repository.check(write=bool(params["remove"]) and not check)
            tier.wal = wal_in(shelf.repository, shelf.name, decrypting)
            if tier.wal is None:
                without.append(f"{folder_of(shelf.name)} in {shelf.repository.description}")
                tier.backups = sum(record.kind in KINDS for record in shelf.records([]))
                if tier.backups and tier.several:
                    tiers.append(tier)
                continue
            _audit(tier, tier.wal, shelf, space)
        except BadOption:
            raise
        except HoldfastError as exc:
            if not tier.several:
                raise
            tier.error = str(exc)
        tiers.append(tier)
    if not any(tier.report for tier in tiers):
        unread = [tier.named(tier.error) for tier in tiers if tier.error]
        if unread:
            raise HoldfastError(f"No archive could be audited. {' '.join(unread)}")
        _refuse(params, without)
    return tiers


def _audit(tier: Audited, wal: WalArchive, shelf: Shelf, space: str) -> None:
    # Of volume snapshots those alone need WAL that were made in backup mode.
    records = [
        record
        for record in shelf.records(tier.unread)
        if record.kind in KINDS and (record.engine not in ELSEWHERE or record.start_lsn is not None)
    ]
    tier.warnings += tier.unread
    tier.report = audit.inspect(wal, records, space)
    word = silence.of_archive(wal.directory, wal.names()) if isinstance(wal, FileWal) else None
    tier.warnings += [word] if word else []


def _refuse(params: Mapping[str, Any], without: Sequence[str]) -> None:
    keeping = keeping_engine({**params, "engine": None})
    way_out = (
        "backup_facts shows the windows of engines with a repository of their own, and they remove WAL themselves."
        if keeping
        else "Set archiving up (wal_archive), ship the WAL there (wal_ship), or check server_name."
    )
    also = f", and {keeping} keeps the WAL of {params['server_name']} beside it" if keeping else ""
    option = "repository" if len(without) == 1 else "repositories"
    raise BadOption(option, " or ".join(without), f"is not there{also}", way_out)
