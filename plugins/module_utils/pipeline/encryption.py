# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption by gpg, so that stock gpg decrypts.

``aes256``: a passphrase (RFC 4880 symmetric, AES-256). ``pgp``: public keys of recipients.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import is_open_to_others
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.passphrase import clean
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.recipients import Key, resolve

_LONGEST = 4096  # bytes of a passphrase


class Encryption:
    """How artifacts are encrypted. ``home`` is a private directory (mode 0700) for gpg's files.

    Raises:
        BadOption: the options don't describe an encryption that can be used.
    """

    def __init__(self, options: Optional[Mapping[str, Any]], home: str) -> None:
        options = options or {}
        self.method: str = options.get("method") or "none"
        self.suffix = "" if self.method == "none" else ".gpg"
        self.recipients: list[str] = options.get("recipients") or []
        self._home = home
        self._user_home: Optional[str] = options.get("gpg_home")
        self._secret = self.passphrase(options)
        self._keys: Optional[list[Key]] = None
        if self.method == "pgp" and not self.recipients:
            raise BadOption(
                "encryption.recipients", [], "names nobody who could decrypt", "Name key ids or public-key files."
            )
        if self.method == "aes256" and not self._secret:
            raise BadOption(
                "encryption.passphrase", None, "is missing", "Give encryption.passphrase or encryption.passphrase_file."
            )
        if self.method == "none" and (self._secret or self.recipients) and options.get("method"):
            raise BadOption(
                "encryption.method", "none", "does not go with a passphrase or recipients", "Use aes256 or pgp."
            )

    @staticmethod
    def passphrase(options: Mapping[str, Any]) -> Optional[bytes]:
        """The secret that the options name, from wherever it is; None when they name none. Raises BadOption."""
        path = options.get("passphrase_file")
        if path and options.get("passphrase"):
            raise BadOption("encryption.passphrase_file", path, "is given together with a passphrase", "Give one.")
        if not path:
            text: Optional[str] = options.get("passphrase")
            return clean(text.encode("utf-8", "surrogateescape"), "encryption.passphrase", "***") if text else None
        try:
            status = os.stat(path)
            with open(path, "rb") as stream:
                data = stream.read(_LONGEST + 1)
        except OSError as exc:
            raise BadOption(
                "encryption.passphrase_file", path, f"cannot be read: {exc.strerror}", "Put the passphrase there."
            ) from exc
        if is_open_to_others(status):
            raise BadOption(
                "encryption.passphrase_file",
                path,
                f"can be read by others (mode {status.st_mode & 0o777:04o})",
                "Use mode 0600.",
            )
        if len(data) > _LONGEST:
            raise BadOption(
                "encryption.passphrase_file", path, "is no passphrase: it is too long", "Name another file."
            )
        return clean(data, "encryption.passphrase_file", path)

    @staticmethod
    def is_wanted(options: Optional[Mapping[str, Any]]) -> bool:
        """Whether the options speak of encryption: then what is not encrypted is not what is expected."""
        given = options or {}
        return given.get("method") not in (None, "none") or any(
            given.get(name) for name in ("passphrase", "passphrase_file", "recipients")
        )

    @property
    def secret(self) -> Optional[bytes]:
        """The passphrase; None: none is given."""
        return self._secret

    def describe(self) -> dict[str, object]:
        """For the manifest: no secret."""
        known: dict[str, object] = {
            "method": self.method,
            "recipients": self.recipients if self.method == "pgp" else [],
        }
        return (
            {**known, "fingerprints": [key.fingerprint for key in self._resolved()]} if self.method == "pgp" else known
        )

    def check(self, encrypting: bool = False) -> None:
        """Raise ToolError when gpg is missing, and for ``encrypting`` BadOption when a recipient's key cannot be used."""
        if self.method != "none" and shutil.which("gpg") is None:
            raise ToolError(
                "Encryption needs the program gpg, which is not in PATH. Install the package gnupg (gnupg2)."
            )
        if encrypting and self.method == "pgp":
            self._resolved()

    def _resolved(self) -> list[Key]:
        if self._keys is None:
            self._keys = resolve(
                self.recipients, lambda arguments: run([Command(self._gpg(self._keyring, *arguments))])
            )
        return self._keys

    @property
    def _keyring(self) -> Optional[str]:
        return self._user_home if not all("/" in name for name in self.recipients) else self._home

    def _gpg(self, home: Optional[str], *arguments: str) -> list[str]:
        argv = ["gpg", "--batch", "--yes", "--quiet", "--no-tty", "--no-symkey-cache", "--pinentry-mode", "loopback"]
        # Keys are never looked for in the network, and no program that could is started.
        argv += ["--no-auto-key-locate", "--no-auto-key-retrieve", "--disable-dirmngr"]
        return argv + (["--homedir", home] if home else []) + list(arguments)

    def encrypt(self) -> list[Command]:
        """The programs that encrypt standard input. gpg's own compression stays off: ours came before."""
        if self.method == "none":
            return []
        arguments = ["--cipher-algo", "AES256", "--compress-algo", "none"]
        if self.method == "aes256":
            argv = self._gpg(self._home, "--passphrase-fd", "{secret_fd}", *arguments, "--symmetric")
            return [Command(argv, secret=self._secret)]
        for recipient, key in zip(self.recipients, self._resolved()):
            # By fingerprint: nobody can put another key there between the look and the use.
            arguments += ["--recipient-file", recipient] if "/" in recipient else ["--recipient", key.fingerprint]
        return [Command(self._gpg(self._keyring, "--trust-model", "always", *arguments, "--encrypt"))]

    def decrypt(self) -> list[Command]:
        """The programs that decrypt standard input: passphrases in a home of our own, keys in the user's."""
        if self.method == "none":
            return []
        home = self._home if self.method == "aes256" else self._user_home
        if self._secret:
            return [Command(self._gpg(home, "--passphrase-fd", "{secret_fd}", "--decrypt"), secret=self._secret)]
        return [Command(self._gpg(home, "--decrypt"))]

    def close(self) -> None:
        """End the agent that gpg starts for each home of ours."""
        if self.method != "none" and shutil.which("gpgconf"):
            subprocess.run(
                ["gpgconf", "--homedir", self._home, "--kill", "gpg-agent"],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
