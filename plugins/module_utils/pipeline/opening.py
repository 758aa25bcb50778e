# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the passphrase of today opens a backup. A manifest says nothing of a passphrase, so its smallest artifact is tried."""

from __future__ import annotations

from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream


def closed(shelf: Shelf, record: Record, encryption: Optional[Encryption]) -> Optional[str]:
    """Why a backup is of no use to who has this passphrase alone, as the end of a sentence; None: it opens it. Nothing is told of public
    keys, whose secret part a host that backs up should not have (``scope.not_encrypted_for`` compares them). Raises RepositoryError."""
    artifacts = sorted(record.artifacts, key=lambda artifact: artifact.size)
    if encryption is None or encryption.method != "aes256" or not artifacts:
        return None
    key = shelf.key(record.id, artifacts[0].key)
    try:
        Stream(lambda: shelf.repository.open(key), encryption.decrypt()).head(4096)
    except ToolError:
        return "cannot be decrypted by the passphrase that is given now"
    return None
