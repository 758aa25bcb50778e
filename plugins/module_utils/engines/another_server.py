# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an archive or a repository is this server's: the WAL of two servers in one archive is worth nothing."""

from __future__ import annotations

import os
import tempfile
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize


def system_id_of(wal: WalArchive, size: SegmentSize) -> Optional[str]:
    """Whose the WAL in an archive is, by its first segment; None where there is none. Raises HoldfastError."""
    first = next((name for name in wal.names() if classify(name, size).kind == SEGMENT), None)
    if first is None:
        return None
    with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
        path = os.path.join(scratch, "segment")
        if not wal.fetch(first[:24], path):
            return None
        with open(path, "rb") as stream:
            return header.system_id(stream.read(64))


def refuse_another(where: str, there: Optional[str], mine: Optional[str], way_out: str = "") -> None:
    """Raise CatalogError where both system identifiers are known, and differ. ``way_out``: what else than a name of its own may be right."""
    if None not in (there, mine) and there != mine:
        raise CatalogError(
            f"{where} holds another server's: its system identifier is {there}, this server's is {mine}. The WAL of two servers in one "
            f"archive is worth nothing. Give this server a server_name of its own{f'; {way_out}' if way_out else ''}."
        )
