# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making buckets and containers, and their settings: one file a store. Each says in steps what it would change, and does so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class BucketRequest:
    """How a bucket should be. None leaves a setting as it is. Durations are days."""

    versioning: Optional[bool]
    encryption: Optional[str]
    block_public_access: Optional[bool]
    object_lock: bool
    transitions: tuple[tuple[int, str], ...]
    expire_old_versions: Optional[int]
    abort_uploads: Optional[int]


@dataclass(frozen=True)
class Step:
    """One change: a line of the plan, and how it is made. A text that ``do`` returns is a warning."""

    message: str
    do: Callable[[], object]


Arrange = Callable[[Mapping[str, Any], BucketRequest], list[Step]]
