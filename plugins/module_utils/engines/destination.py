# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an engine lays a backup out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

#: without these a copy of a server is none: which version, where its recovery begins, what it is
_NEEDED = ("PG_VERSION", "backup_label", "global/pg_control")


@dataclass(frozen=True)
class LocalDirectories:
    """Directories of this host: ``directory`` becomes the data directory, ``tablespaces`` maps the old location of a tablespace to
    the one that it gets. All are there, empty, and belong to the server's owner."""

    directory: str
    tablespaces: Mapping[str, str] = field(default_factory=dict)

    def check(self, program: str, label: str) -> None:
        """Look whether a ``program`` that ended well laid a server out. Raises ToolError."""
        for name in _NEEDED:
            if not os.path.isfile(os.path.join(self.directory, name)):
                raise ToolError(
                    f"{program} restored {label} into {self.directory} without {name}: it cannot be started."
                )


#: a volume or a cluster of Kubernetes come to stand beside it
Destination = Union[LocalDirectories]
