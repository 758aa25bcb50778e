# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an engine lays a backup out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union


@dataclass(frozen=True)
class LocalDirectories:
    """Directories of this host: ``directory`` becomes the data directory, ``tablespaces`` maps the old location of a tablespace to
    the one that it gets. All are there, empty, and belong to the server's owner."""

    directory: str
    tablespaces: Mapping[str, str] = field(default_factory=dict)


#: a volume or a cluster of Kubernetes come to stand beside it
Destination = Union[LocalDirectories]
