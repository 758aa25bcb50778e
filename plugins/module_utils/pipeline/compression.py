# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression by stock programs, so that stock programs read it."""

from __future__ import annotations

import shutil
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command

SUFFIXES = {"none": "", "gzip": ".gz", "lz4": ".lz4", "zstd": ".zst"}
# Level -1 of zstd (--fast=1) leaves pg_dump a core to itself: docs/benchmarks.md. Text takes up to twice the room by it, which
# a disk has written sooner than level 1 is done, and a store has not.
DEFAULT_LEVELS = {"gzip": 6, "lz4": 1, "zstd": -1}
REMOTE_LEVELS = {**DEFAULT_LEVELS, "zstd": 1}
_LEVELS = {"gzip": (1, 9), "lz4": (1, 12), "zstd": (-7, 19)}
_PACKAGES = {"gzip": "gzip", "lz4": "lz4", "zstd": "zstd"}


class Compression:
    """How artifacts are compressed: a method and its level, by default one for a disk or for a ``remote`` store.

    Raises:
        BadOption: the level is not one of the method's.
    """

    def __init__(self, method: str, level: Optional[int] = None, remote: bool = False) -> None:
        self.method = method
        self.level = (REMOTE_LEVELS if remote else DEFAULT_LEVELS).get(method) if level is None else level
        self.suffix = SUFFIXES[method]
        if method == "none":
            if level is not None:
                raise BadOption("compression_level", level, "means nothing without compression", "Leave it out.")
            return
        low, high = _LEVELS[method]
        if not self.level or not low <= self.level <= high:
            raise BadOption(
                "compression_level", level, f"is not a level of {method}", f"Use {low} to {high}, and not 0."
            )

    def describe(self) -> dict[str, object]:
        """For the manifest."""
        return {"method": self.method, "level": self.level}

    def check(self) -> None:
        """Raise ToolError when the program is missing."""
        for command in self.compress() + self.decompress():
            if shutil.which(command.argv[0]) is None:
                raise ToolError(
                    f"compression {self.method} needs the program {command.argv[0]}, which is not in PATH. "
                    f"Install the package {_PACKAGES[self.method]}, or choose another compression."
                )

    def compress(self) -> list[Command]:
        """The programs that compress standard input; none for no compression."""
        if self.method == "none":
            return []
        if self.method == "gzip":
            # pigz writes the same format with every core
            return [Command([_gzip(), "-c", f"-{self.level}", "-n"])]
        level = self.level or 0
        return [Command([self.method, "-q", "-c", f"-{level}" if level > 0 else f"--fast={-level}"])]

    def decompress(self) -> list[Command]:
        """The programs that undo it."""
        if self.method == "none":
            return []
        return [Command([_gzip() if self.method == "gzip" else self.method, "-q", "-d", "-c"])]


def _gzip() -> str:
    return "pigz" if shutil.which("pigz") else "gzip"
