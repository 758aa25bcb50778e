# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of what a passphrase encrypts: signed anew where the server gets another name, and encrypted by another passphrase when asked.

A signature covers the server's name (``pipeline/signature.py``), so a copy under another one needs the passphrase that signs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads as pool_of
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record, has_same_content
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import store
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.opening import closed
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import check_signature, sign

#: what is copied so is encrypted and signed by a passphrase
PASSPHRASE = "aes256"


class Rekey:
    """``former``: the passphrase of what is copied (None: not given); ``new``: the one of the copies (None: the same).

    Raises:
        BadOption: the two do not go together.
    """

    def __init__(self, former: Optional[Encryption], new: Optional[Encryption]) -> None:
        self._former, self._new = former, new
        for name, one in (("encryption", former), ("target_encryption", new)):
            if one is not None and one.method != PASSPHRASE:
                raise BadOption(
                    f"{name}.method",
                    one.method,
                    "has no passphrase to sign by",
                    f"Use {PASSPHRASE}, or leave {name} out.",
                )
        if new is not None and former is None:
            raise BadOption(
                "encryption", None, "is missing, and target_encryption encrypts anew what it opens", "Give the passphrase that the backups have."
            )  # fmt: skip

    @property
    def encrypts(self) -> bool:
        """Whether copies get another passphrase."""
        return self._new is not None

    def stands(self, there: Record, record: Record) -> bool:
        """Whether a backup of that id in the target is a copy of this one, encrypted anew by the new passphrase. Raises CatalogError: it has
        the former one still."""
        if self._new is None:
            return has_same_content(there, record)
        if has_same_content(there, record):
            raise CatalogError(
                f"{record.id} is there already under the former passphrase, and is not overwritten. Copy to another repository or "
                "target_server_name, or delete that copy first."
            )
        if _described(there) != _described(record):
            return False
        return check_signature(there, self._new, {"method": PASSPHRASE}) is None

    def check(self, record: Record, source: Shelf, target: Shelf) -> None:
        """Whether a backup can be copied so; reads its smallest artifact.

        Raises:
            CatalogError: it cannot: what is in the source is not changed.
        """
        renamed = source.name != target.name and record.signature is not None
        if not self.encrypts and not renamed:
            return
        if record.encryption["method"] != PASSPHRASE:
            raise CatalogError(
                f"{record.id} is not encrypted by a passphrase ({record.encryption['method']}), so target_encryption does not go with it. Nothing "
                "was copied. Name by backup_ids those that are."
            )
        if self._former is None:
            raise CatalogError(
                f"{record.id} is signed by its passphrase as a backup of {source.name}, and could not be restored as one of {target.name}. Nothing was "
                "copied. Give encryption, with that passphrase: the copy is signed by it anew."
            )
        shut = closed(source, record, self._former)
        if shut:
            raise CatalogError(
                f"{record.id} {shut} by encryption. Nothing was copied. Give the passphrase that it was made with (a former one lies beside the "
                "present one as passphrase.until-<time>), and name by backup_ids what it opens."
            )
        unsigned = check_signature(record, self._former, {"method": PASSPHRASE})
        if unsigned is not None:
            raise CatalogError(
                f"The manifest of {record.id} is not signed, and a copy of it would be: somebody may have changed it. Nothing was copied. Copy it "
                "as it is, without target_encryption and target_server_name, or leave it out (backup_ids)."
            )

    def encrypt(
        self, record: Record, source: Shelf, target: Shelf, threads: int, on_bytes: Callable[[int], None]
    ) -> Record:
        """Write a backup's artifacts, which were verified, into the target, decrypted and encrypted anew; the record of what was written, not yet
        signed.

        Raises:
            HoldfastError: one could not be written.
        """
        with pool_of(threads) as pool:
            futures = [pool.submit(self._one, record, item, source, target, on_bytes) for item in record.artifacts]
            try:
                artifacts = [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return replace(record, artifacts=artifacts)

    def _one(
        self, record: Record, artifact: Artifact, source: Shelf, target: Shelf, on_bytes: Callable[[int], None]
    ) -> Artifact:
        if self._former is None or self._new is None:
            raise AssertionError("there is no other passphrase")
        sink = target.repository.sink(target.key(record.id, artifact.key), lasting=True)
        try:
            opened = source.repository.open(source.key(record.id, artifact.key))
        except BaseException:
            sink.abort()
            raise
        with opened:
            anew = [*self._former.decrypt(), *self._new.encrypt()]
            made = store(anew, sink, lambda made, size: on_bytes(size), opened)
        return replace(artifact, size=made.size, sha256=made.sha256)

    def sign(self, copied: Record, record: Record) -> Optional[dict[str, str]]:
        """The signature of a copy, by whoever's passphrase it has."""
        by = self._new or self._former
        if record.signature is None or by is None or (not self.encrypts and copied.server == record.server):
            return record.signature
        return sign(copied, by)


#: a copy that has the name and the passphrase that it had
UNCHANGED = Rekey(None, None)


def _described(record: Record) -> tuple[object, ...]:
    """What encrypting anew does not change."""
    parts = sorted((item.key, item.role, item.raw_size, item.database or "") for item in record.artifacts)
    identity = record.server.get("system_id")
    return identity, record.engine, record.started_at, record.stop_lsn, str(parts)
