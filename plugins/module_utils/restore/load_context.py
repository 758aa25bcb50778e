# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all loading has in common: a server, its programs, what was asked for, and what is heard on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import OnBytes
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import parts, toc
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.archive import ArchiveReader
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.failures import Failures
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.psql import Player
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools


class LoadContext:
    """``quiet`` are settings by which a session that makes something new fires no event triggers, where the server knows no better way;
    ``chosen`` is what was selected of a dump, by its id; ``notes``: what else is to be said."""

    def __init__(
        self,
        address: Address,
        tools: Tools,
        options: RestoreOptions,
        scratch: str,
        on_bytes: OnBytes,
        quiet: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.address, self.tools, self.options = address, tools, options
        self.scratch, self.on_bytes, self.quiet = scratch, on_bytes, quiet or {}
        self.player = Player(address, tools)
        self.archive = ArchiveReader(tools, scratch, on_bytes)
        self.failures = Failures(options.allow_errors)
        self.chosen: dict[int, toc.Selection] = {}
        self.notes: list[str] = []

    def forget(self) -> None:
        """Before the next database: what was heard of the last one."""
        self.failures.forget()
        self.notes = []

    def run_text(self, text: str, database: str, stop: bool) -> list[str]:
        return list(map(str, self.player.play_text(text, database, stop)))

    def write_list(self, name: str, lines: Sequence[str]) -> str:
        return parts.write(self.scratch, name, "\n".join(lines) + "\n")
