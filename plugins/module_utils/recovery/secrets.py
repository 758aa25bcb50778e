# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How backups are decrypted: with the user's secrets, in the way that each one's record says it was encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import not_encrypted


class Secrets:
    """The option ``encryption``; its method is the record's, whatever the user wrote. ``home`` is a private directory for gpg."""

    def __init__(self, options: Mapping[str, Any], home: str) -> None:
        self._options, self._home = options, home
        self._known: dict[str, Encryption] = {}

    @property
    def asked(self) -> Mapping[str, Any]:
        """What the user wrote."""
        return self._options

    def of(self, record: Record) -> Encryption:
        """Raises BadOption: what this backup needs is missing; ToolError: gpg is."""
        return self._by(str(record.encryption["method"]), record.encryption["recipients"], f"the backup {record.id}")

    def of_wal(self, marker: Mapping[str, Any]) -> Encryption:
        """For WAL in a store, whose ``marker`` tells how it is encrypted. Raises as ``of``."""
        return self._by(str(marker.get("encryption") or "none"), marker.get("recipients") or [], "the WAL archive")

    def _by(self, method: str, recipients: Any, what: str) -> Encryption:
        if method not in self._known:
            if method == "aes256" and not Encryption.passphrase(self._options):
                raise BadOption(
                    "encryption", None, f"is missing, and {what} is encrypted ({method})",
                    "Give encryption.passphrase or encryption.passphrase_file.",
                )  # fmt: skip
            if method == "none" and Encryption.is_wanted(self._options):
                raise not_encrypted(what)
            wanted = {**self._options, "method": method, "recipients": recipients} if method != "none" else {}
            encryption = Encryption(wanted, self._home)
            encryption.check()
            self._known[method] = encryption
        return self._known[method]

    def close(self) -> None:
        """End the agents that gpg started."""
        for encryption in self._known.values():
            encryption.close()
