# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far shipping is, for who looks at it on the host of the directory: by what is in there, and by what the shipper remembers of the stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import STATE, WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import Finished, lag


def shipping_of(root: Optional[str], server_name: str, now: float) -> Optional[dict[str, Any]]:
    """What there is to say of the directory below ``root``; None: nothing is shipped from there. ``now``: seconds since the epoch.

    ``stores``: each with ``name``, ``last_segment``, ``last_at``, how many segments are ``waiting`` and the oldest since how many ``seconds``, and
    the ``error`` of the last pass. ``problem``: why that is not known.
    """
    if not root:
        return None
    try:
        directory = WalDirectory(root, server_name)
        if not os.path.exists(os.path.join(directory.path, STATE)):
            return None
        files, state = directory.finished(), directory.state()
        modified = directory.modified(files)
    except BadOption:
        return None
    except HoldfastError as exc:
        return {"directory": root, "stores": [], "problem": str(exc)}
    stores = []
    for where, known in sorted(state["stores"].items()):
        behind = lag(files, _has(files, known), modified, now)
        stores.append(
            {
                "name": known.get("name"),
                "repository": where,
                "last_segment": known.get("last"),
                "last_at": known.get("last_at"),
                "waiting": behind.waiting,
                "seconds": behind.seconds,
                "error": known.get("error"),
            }
        )
    return {
        "directory": directory.path,
        "stores": stores,
        "problem": None if stores else f"{STATE} in it cannot be read",
    }


def _has(files: list[Finished], known: Mapping[str, Any]) -> set[str]:
    through = dict(known.get("through") or {})
    old = {item.name for item in files if item.name <= str(through.get(str(item.file.timeline), ""))}
    return old | set(known.get("has") or ())
