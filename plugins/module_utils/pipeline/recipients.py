# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which public key a recipient is: exactly one, usable, and the one that is meant.

Keys are looked for in the keyring or file alone, never in the network. A fingerprint (or a long key id) says which key is meant; a name
may be written into any key by anybody, so a key that is found by name must be one that the keyring's owner has certified.
Source of the fields: doc/DETAILS of GnuPG (https://github.com/gpg/gnupg/blob/master/doc/DETAILS)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError

_OPTION = "encryption.recipients"
_EXACT = re.compile(r"(0x)?([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{16})!?")
_TRUSTED = ("f", "u")  # fully, ultimately
_DEAD = {"r": "is revoked", "d": "is disabled", "i": "is invalid", "n": "is distrusted (never)"}

#: runs gpg with these arguments, and returns what it prints; raises ToolError
Gpg = Callable[[Sequence[str]], bytes]


@dataclass(frozen=True)
class Key:
    """A public key. ``expires``: seconds since the epoch; ``encrypts``: it, or a subkey that is good, is there for encryption."""

    fingerprint: str
    validity: str
    expires: Optional[int]
    disabled: bool
    encrypts: bool
    user: str


def parse(listing: str) -> list[Key]:
    """The keys in what ``gpg --with-colons`` prints. Pure."""
    keys: list[Key] = []
    for block in re.split(r"^(?=pub:)", listing, flags=re.MULTILINE):
        fields = [line.split(":") for line in block.splitlines()]
        if not fields or fields[0][0] != "pub" or len(fields[0]) < 12:
            continue
        pub = fields[0]
        fingerprint = next((line[9] for line in fields if line[0] == "fpr"), pub[4])
        user = next((line[9] for line in fields if line[0] == "uid"), "")
        expires = int(pub[6]) if pub[6].isdigit() else None
        keys.append(Key(fingerprint, pub[1] or "-", expires, "D" in pub[11], "E" in pub[11], user))
    return keys


def choose(recipient: str, keys: Sequence[Key], where: str, now: float) -> Key:
    """The key that a recipient names, of those that were found for it. Pure.

    Raises:
        BadOption: there is none, more than one, or one that must not or cannot be used.
    """
    if not keys:
        raise BadOption(
            _OPTION,
            recipient,
            f"is no key in {where}",
            "Import it (it is not looked for in the network), or name its file.",
        )
    if len(keys) > 1:
        found = "; ".join(f"{key.fingerprint} ({key.user})" for key in keys)
        raise BadOption(
            _OPTION, recipient, f"fits {len(keys)} keys in {where}: {found}", "Name one by its fingerprint."
        )
    (key,) = keys
    if key.validity in _DEAD or key.disabled:
        raise BadOption(
            _OPTION, recipient, f"{_DEAD.get(key.validity, 'is disabled')} (key {key.fingerprint})", "Use another key."
        )
    if key.validity == "e" or (key.expires is not None and key.expires <= now):
        at = time.strftime("%Y-%m-%d", time.gmtime(key.expires)) if key.expires else "some time ago"
        raise BadOption(
            _OPTION,
            recipient,
            f"expired on {at} (key {key.fingerprint})",
            "Import the key with its new expiry date, or use another one. What was encrypted to it can still be decrypted.",
        )
    if not key.encrypts:
        raise BadOption(
            _OPTION,
            recipient,
            f"has no key for encryption that is good (key {key.fingerprint})",
            "Its subkey for encryption expired or was revoked, or it only signs: import its new form, or use another one.",
        )
    if "/" not in recipient and not _EXACT.fullmatch(recipient) and key.validity not in _TRUSTED:
        raise BadOption(
            _OPTION,
            recipient,
            f"is found by name as {key.fingerprint} ({key.user}), and nobody has certified that this key is theirs: anybody can "
            "write that name into a key",
            f"Compare the fingerprint with its owner and use it as recipient ({key.fingerprint}), or certify the key (gpg --lsign-key).",
        )
    return key


def resolve(recipients: Sequence[str], gpg: Gpg) -> list[Key]:
    """The keys of all recipients, in their order. Raises BadOption."""
    keys = []
    for recipient in recipients:
        if "/" in recipient:
            arguments, where = ["--show-keys", "--", recipient], "that file"
        else:
            # A name is matched as gpg does it; with -- no name is an option.
            arguments, where = ["--list-keys", "--", recipient], "the keyring"
        try:
            listing = gpg(["--with-colons", "--fixed-list-mode", *arguments]).decode("utf-8", "replace")
        except ToolError as exc:
            if "/" in recipient:
                raise BadOption(
                    _OPTION,
                    recipient,
                    f"cannot be read as a public key: {exc.output or exc}",
                    "Name a file that gpg --export made.",
                ) from exc
            listing = ""
        keys.append(choose(recipient, parse(listing), where, time.time()))
    return keys
