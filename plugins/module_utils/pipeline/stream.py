# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read back: bytes from a repository through the programs that undo what was done to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command, OnBytes, pump
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption

#: bytes of what is small: roles and settings, or what describes a table in 100 bytes each
SMALL = 256 * 1024 * 1024


@dataclass(frozen=True)
class Stream:
    """Bytes to read, and the programs that decrypt and decompress them."""

    open: Callable[[], BinaryIO]
    filters: list[Command]

    def read(self, most: int = SMALL) -> bytes:
        """All of it; for what is small. Raises ToolError: it is not, or a program failed."""
        with self.open() as source:
            if not self.filters:
                data = source.read(most + 1)
            else:
                with Chain(self.filters, source) as chain:
                    data = chain.output.read(most + 1)
                    if len(data) <= most:
                        chain.finish()
        if len(data) > most:
            raise ToolError(
                f"It unpacks to more than {most // (1024 * 1024)} MiB, which is no size for it: somebody else put it there."
            )
        return data

    def head(self, most: int) -> bytes:
        """Its beginning; the programs are stopped then."""
        with self.open() as source:
            if not self.filters:
                return source.read(most)
            with Chain(self.filters, source) as chain:
                data = chain.output.read(most)
                if not data:
                    chain.finish()  # it says why
                return data

    def save(self, path: str, on_bytes: OnBytes) -> None:
        """Into a file of mode 0600."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as target, self.open() as source:
            pump(self.filters or [Command(["cat"])], source, target, on_bytes)


def filters(name: str, encryption: Encryption, unpack: bool = True) -> list[Command]:
    """The programs that undo what an artifact's name says was done to it. ``unpack`` False: its compression is the engine's.

    Raises:
        BadOption: it is not encrypted where encryption is expected. Who may write into the repository, and has no key, could put it there.
    """
    programs: list[Command] = []
    if encryption.method != "none" and not name.endswith(".gpg"):
        raise not_encrypted(name)
    if name.endswith(".gpg"):
        programs += encryption.decrypt()
        name = name[: -len(".gpg")]
    for method, suffix in SUFFIXES.items():
        if unpack and suffix and name.endswith(suffix):
            compression = Compression(method)
            compression.check()
            programs += compression.decompress()
    return programs


def not_encrypted(name: str) -> BadOption:
    """What is read is not encrypted, and the options say that it should be."""
    return BadOption(
        "encryption",
        "(given)",
        f"does not go with {name}, which is not encrypted: it may have been put there by somebody who has no key",
        "If it was made without encryption, and you trust what lies there, leave encryption out for this run.",
    )


def stream_of(opener: Callable[[], BinaryIO], name: str, encryption: Encryption, unpack: bool = True) -> Stream:
    """An artifact, whose name says what was done to it."""
    return Stream(opener, filters(name, encryption, unpack))
