# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That who wrote a manifest had the passphrase.

Who may write into a repository, and has no passphrase, can put an encrypted artifact of an older backup in a newer one's place, and its size
and sum into the manifest. So what a manifest says of the content, its id among it, is authenticated by a key made of the passphrase
(RFC 2104, RFC 8018). There is none where backups are encrypted for public keys: whoever encrypts so has no secret.

Guessing a passphrase by a signature costs more than by an artifact, which anybody who reads the repository has as well: gpg hashes 65 MB at
most for each guess, which is a million blocks, and this hashes two million.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption

#: what is signed how; another list of fields is another method
METHOD = "pbkdf2-hmac-sha256-1"
_ROUNDS = 1_000_000
# Pins, annotations, times of verification and of drills change later, and steer nothing that is restored.
_SIGNED = (
    "id", "engine", "kind", "server", "started_at", "stopped_at", "start_lsn", "stop_lsn", "scope", "consistency", "databases",
    "compression", "encryption", "parent",
)  # fmt: skip


def sign(record: Record, encryption: Encryption) -> Optional[dict[str, str]]:
    """The signature of a record that is about to be written; None: there is no passphrase to sign with."""
    if encryption.secret is None or record.encryption["method"] != "aes256":
        return None
    salt = secrets.token_bytes(16)
    return {"method": METHOD, "salt": salt.hex(), "value": _value(record, encryption.secret, salt)}


def check_signature(record: Record, encryption: Encryption, asked: Mapping[str, Any]) -> Optional[CatalogError]:
    """Compare a backup's signature, where this run has its passphrase. ``encryption`` decrypts this record, ``asked`` is the user's option.

    Returns why it is to be refused unless its having no signature is agreed to; None: it is what was signed, or nothing was to be compared.

    Raises:
        CatalogError: the manifest is not what was signed.
        BadOption: it says that public keys encrypt it, and a passphrase was expected: everybody has public keys.
    """
    if encryption.secret is None or record.encryption["method"] == "none":
        return None
    if record.encryption["method"] == "pgp":
        if asked.get("method") != "pgp":
            raise BadOption(
                "encryption.method", asked.get("method") or "none", f"is not what the backup {record.id} says of itself: that it is encrypted "
                "for public keys, which anybody can do who may write into the repository",
                "If that is how it was made, set encryption.method: pgp for this run. If your backups are encrypted by a passphrase, use "
                "another one (backup_id), and find out who can write there.",
            )  # fmt: skip
        return None
    given = record.signature
    if given is None or given["method"] != METHOD:
        which = "is not signed" if given is None else f"is signed in a way that is not known here ({given['method']})"
        return CatalogError(
            f"The manifest of {record.id} {which}, and what a passphrase encrypts is signed by it: somebody may have changed the manifest, or "
            "put artifacts of another backup in the place of its own. Nothing was touched. Use another backup (backup_id), and find out who can "
            "write into the repository; or, where you know that it is right, set accept_unsigned: true."
        )
    value = _value(record, encryption.secret, bytes.fromhex(given["salt"]))
    if not hmac.compare_digest(value, given["value"]):
        raise CatalogError(
            f"The manifest of {record.id} is not what was signed by who has the passphrase: somebody has changed it, or put artifacts of another "
            "backup in the place of its own. Nothing was touched. Use another backup (backup_id), and find out who can write into the repository."
        )
    return None


def accepted(record_id: str) -> str:
    """What a run says that takes a backup without a signature all the same."""
    return (
        f"The manifest of {record_id} is not signed (accept_unsigned): whether all that it names was written together, by who has the passphrase, "
        "is not known."
    )


def _value(record: Record, secret: bytes, salt: bytes) -> str:
    key = hashlib.pbkdf2_hmac("sha256", secret, salt, _ROUNDS)
    signed = {name: getattr(record, name) for name in _SIGNED}
    signed["artifacts"] = [dict(vars(artifact)) for artifact in record.artifacts]
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
