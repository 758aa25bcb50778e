# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that archives into a directory, backed up, and brought back: the words that tests of recoveries share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .answers import ok
from .playbooks import ModuleResult, run_module
from .restored import Restored
from .servers import Server

SETTINGS = {"archive_mode": "on", "hot_standby": "on"}


@dataclass(frozen=True)
class Archived:
    """A server, and the repository that it archives into."""

    server: Server
    repository: Path

    @classmethod
    def of(cls, server: Server, back_up: bool = True) -> Archived:
        """Begin to archive, and take a first backup."""
        made = cls(server, server.server_directory("repository"))
        ok(run_module("wal_archive", {**server.login(), **made.options}))
        if back_up:
            made.back_up()
        return made

    @property
    def options(self) -> dict[str, Any]:
        return {"repository": {"path": str(self.repository)}, "bin_dir": str(self.server.bindir)}

    def back_up(self, **options: Any) -> str:
        """The id of a new backup."""
        wanted = {**self.server.login(), **self.options, "engine": "pg_basebackup", **options}
        return str(ok(run_module("pg_backup", wanted))["backup"]["id"])

    def archive(self) -> None:
        """Everything written so far is in the archive."""
        ok(run_module("wal_archive", {**self.server.login(), **self.options, "state": "verified"}))

    def now(self) -> str:
        """The server's clock, with an offset."""
        return str(self.server.query("SELECT clock_timestamp()")[0][0].isoformat())

    def recover(
        self, to: Server, target: Mapping[str, Any] | None = None, check: bool = False, **options: Any
    ) -> ModuleResult:
        """Bring it back, beside (``Restored``) or in place."""
        wanted = {
            **self.options,
            "data_directory": str(to.data),
            "owner": self.server.owner,
            "recovery_target": dict(target or {}),
            **({"settings": to.settings} if isinstance(to, Restored) else {}),
            **options,
        }
        return run_module("pg_recover", wanted, check=check)

    def in_place(self, target: Mapping[str, Any] | None = None, check: bool = False, **options: Any) -> ModuleResult:
        """Bring it back where it is, with all the consent that there is."""
        data = str(self.server.data)
        given = {"force": True, "confirm": [data], "stop_server": True, **options}
        return self.recover(self.server, target, check, **given)
