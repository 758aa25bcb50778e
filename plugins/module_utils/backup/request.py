# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a backup run, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import key_of
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError


@dataclass(frozen=True)
class BackupRequest:
    """What the user wants of a backup, apart from the engine's options. ``max_age`` and ``lock_wait`` are seconds."""

    engine: str
    #: what is backed up, and how it is encrypted, as the record says it
    scope: Mapping[str, Any]
    encryption: Mapping[str, Any]
    #: kinds of a fresh backup that make another one needless
    enough: Sequence[str]
    created_by: str
    id: Optional[str] = None
    max_age: Optional[int] = None
    lock_wait: int = 0
    pinned: Optional[bool] = None
    annotations: Optional[dict[str, str]] = None
    accept_new_server: bool = False

    @property
    def key(self) -> str:
        """What another backup must have to stand in for this one."""
        return key_of(self.engine, self.encryption, self.scope)


@dataclass
class BackupResult:
    """What a run did, or would do."""

    changed: bool = False
    record: Optional[Record] = None
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    proof: Proof = field(default_factory=Proof)
    #: options that a plan waits for
    consent: dict[str, Any] = field(default_factory=dict)
    #: databases that could not be dumped, each with the reason
    failed: dict[str, HoldfastError] = field(default_factory=dict)

    def warn(self, messages: Sequence[str]) -> None:
        """Add what was not said before."""
        self.warnings += [message for message in dict.fromkeys(messages) if message not in self.warnings]
