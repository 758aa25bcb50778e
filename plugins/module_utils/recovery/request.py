# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a recovery, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import Isolated
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import Landing
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target

#: backups that are volume snapshots are no base; are one as any other, in a plan; or the one that is named lies in the data directory
PASS_OVER, CHOOSE, LAID_OUT = "pass_over", "choose", "laid_out"


@dataclass(frozen=True)
class DirectoryRequest:
    """What is wanted of a server that is put into a data directory, a recovered one or a standby. ``settings`` are for that server (its
    port, when it stands beside the old one); ``tablespaces`` maps names or locations of tablespaces to directories."""

    data_directory: str
    backup_id: str
    bin_dir: Optional[str]
    config_file: Optional[str]
    settings: Mapping[str, str]
    tablespaces: Mapping[str, str]
    service: Optional[str]
    stop_server: bool
    force: bool
    confirm: tuple[str, ...]
    accept_new_server: bool
    accept_unsigned: bool


@dataclass(frozen=True)
class RecoveryRequest(DirectoryRequest):
    """What the user wants of a recovery. ``wal_timeout``: seconds that the archive may take for one file; ``prepare``: it is laid out here, and recovers
    where it is started; ``in_place``: it takes the place of the very server there; ``snapshots``: what becomes of backups that are volume
    snapshots, of SNAPSHOTS; ``tablespaces_below``: a directory in which each tablespace gets one of its oid, whatever is named (None: they keep their
    locations)."""

    target: Target
    action: str
    owner: Optional[str]
    user: Optional[str]
    start: bool
    keep_archiving: bool
    wal_timeout: float
    prepare: bool = False
    snapshots: str = PASS_OVER
    tablespaces_below: Optional[str] = None
    in_place: bool = False


@dataclass
class RecoveryResult:
    """What a run did, or would do. ``isolated``: what the server is kept from, and how that is switched on; ``next_steps`` are
    sentences about what is to be done now, the last of them about archiving; ``consent`` are options that a plan waits for."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    record: Optional[Record] = None
    choice: Optional[Choice] = None
    landing: Optional[Landing] = None
    kept: list[str] = field(default_factory=list)
    isolated: list[Isolated] = field(default_factory=list)
    proof: Proof = field(default_factory=Proof)
    next_steps: list[str] = field(default_factory=list)
    consent: dict[str, Any] = field(default_factory=dict)
