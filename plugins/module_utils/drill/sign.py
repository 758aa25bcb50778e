# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence signed by gpg, with a key of the user's: a detached signature, which stock gpg verifies."""

from __future__ import annotations

import tempfile
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import Sign
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run


def signer(key: Optional[str], home: Optional[str]) -> Optional[Sign]:
    """What signs by this key; None: none is named. It is tried at once, as after a drill would be too late.

    Raises:
        BadOption: nothing can be signed by it.
    """
    if not key:
        return None
    argv = ["gpg", "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--disable-dirmngr"]
    argv += ["--homedir", home] if home else []
    argv += ["--local-user", key, "--armor", "--detach-sign", "--output", "-"]

    def sign(data: bytes) -> bytes:
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.seek(0)
            return run([Command(argv)], stream)

    try:
        sign(b"holdfast")
    except ToolError as exc:
        raise BadOption(
            "sign_key",
            key,
            f"cannot sign: {exc}",
            "Name a secret key of the keyring (encryption.gpg_home) that has no passphrase.",
        ) from exc
    return sign
