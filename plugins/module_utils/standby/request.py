# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a standby, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import DirectoryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import FOLLOW


@dataclass(frozen=True)
class StandbyRequest(DirectoryRequest):
    """What the user wants of a standby. ``link``: the parts of primary_conninfo, without application_name and passfile; ``password`` is its
    password, ``admin_password`` that of the role that copies and rewinds. ``slot`` None: no slot holds WAL back. ``server_name``: whose
    archive ``restore_command`` reads. ``drop_slots``: slots of the standby's own server that are for nobody any more."""

    owner: str
    config_dir: str
    name: str
    slot: Optional[str]
    link: Mapping[str, str]
    password: Optional[str]
    admin_password: Optional[str]
    restore_command: Optional[str]
    server_name: str
    drop_slots: tuple[str, ...]
    rewind: bool
    max_rate: Optional[int]
    timeout: float

    @property
    def directory(self) -> str:
        """Where the files are: a data directory that is a link stays one, and what it leads to is replaced, on the disk where that is."""
        return os.path.realpath(self.data_directory)

    @property
    def confirmed(self) -> bool:
        """Whether it was agreed to that what is in the data directory is replaced."""
        return self.force and bool({self.directory, os.path.abspath(self.data_directory)} & set(self.confirm))


@dataclass
class StandbyResult:
    """What a run did, or would do. ``method``: follow, rewind, copy or backup; ``why`` it has to be made anew; ``state``: the
    primary's word for it (streaming, catchup); ``consent`` are options that a plan waits for."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: str = FOLLOW
    why: Optional[str] = None
    state: Optional[str] = None
    kept: list[str] = field(default_factory=list)
    backup: Optional[str] = None
    settings: list[str] = field(default_factory=list)
    restart_required: bool = False
    consent: dict[str, Any] = field(default_factory=dict)
