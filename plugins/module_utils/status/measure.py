# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules want to know of repositories beside what is in them: room, what a store says of itself, and what they fall with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import read
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import named_repositories
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.metrics import Evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import Disk


@dataclass
class Measured:
    """By tier, as ``Standing`` has it."""

    disks: dict[str, Disk] = field(default_factory=dict)
    findings: list[tuple[str, str, str]] = field(default_factory=list)
    domains: dict[str, str] = field(default_factory=dict)


def has_repository(params: Mapping[str, Any]) -> bool:
    """Whether repositories of ours are named, not an engine's configuration alone."""
    return bool(params["repository"] or params["repositories"])


def last_evidence(found: Gathered) -> Optional[Evidence]:
    """What the last drill measured; None: there was none."""
    if not found.all_drills:
        return None
    tier, drill = found.all_drills[-1]
    try:
        return Evidence(read(found.shelves[tier], drill.id))
    except HoldfastError:
        return Evidence(None)


def measure(params: Mapping[str, Any], found: Gathered) -> Measured:
    """Look at each repository that could be looked into."""
    measured = Measured()
    for name, options, _where in named_repositories(params) if has_repository(params) else ():
        if name not in found.shelves:
            continue
        repository = found.shelves[name].repository
        if isinstance(repository, FileRepository):
            _disk(name, repository.root, measured)
            continue
        measured.domains[name] = _bucket(options)
        try:
            measured.findings += [(name, finding.level, finding.message) for finding in repository.inspect(0)]
        except HoldfastError as exc:
            measured.findings.append((name, "warning", f"what the store says of itself is not known: {exc}"))
    return measured


def _disk(name: str, root: str, measured: Measured) -> None:
    try:
        status, device = os.statvfs(root), os.stat(root).st_dev
    except OSError as exc:
        measured.findings.append((name, "warning", f"how much room is left in {root} is not known: {exc.strerror}"))
        return
    measured.disks[name] = Disk(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)
    measured.domains[name] = f"one file system (device {os.major(device)}:{os.minor(device)})"


def _bucket(options: Mapping[str, Any]) -> str:
    account = f" of {options['account']}" if options.get("account") else ""
    at = f" at {options['endpoint_url']}" if options.get("endpoint_url") else ""
    return f"the {options['type']} bucket {options.get('bucket') or options.get('container')}{account}{at}"
