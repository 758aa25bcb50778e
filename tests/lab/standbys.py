# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and its standby, and the module's calls for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .playbooks import ModuleResult, run_module
from .restored import Restored
from .servers import Server

SETTINGS = {"full_page_writes": "on", "wal_log_hints": "on", "wal_keep_size": "64MB"}


class Pair:
    """A primary, and the standby that is to be made of it."""

    def __init__(self, primary: Server, standby: Restored) -> None:
        self.primary, self.standby = primary, standby
        self.config = primary.directory / "holdfast"

    @classmethod
    @contextmanager
    def made(cls, factory: Callable[..., Server], major: int, settings: dict[str, str] | None = None) -> Iterator[Pair]:
        with ExitStack() as stack:
            primary = factory(major, settings={**SETTINGS, **(settings or {})})
            stack.callback(primary.remove)
            primary.psql("CREATE TABLE t AS SELECT 1 AS n")
            standby = Restored(primary, "standby")
            stack.callback(standby.remove)
            yield cls(primary, standby)

    def options(self, primary: Server, standby: Server, **more: Any) -> dict[str, Any]:
        return {
            "data_directory": str(standby.data),
            "owner": primary.data.owner(),
            "bin_dir": str(primary.bindir),
            "config_dir": str(self.config),
            "primary_host": primary.host,
            "primary_port": primary.port,
            "primary_user": "postgres",
            "primary_password": primary.password,
            "slot_name": f"to_{standby.data.name}",
            "settings": {"port": str(standby.port)},
            **more,
        }

    def follow(self, check: bool = False, **more: Any) -> ModuleResult:
        """The standby follows the primary."""
        return run_module("pg_standby", self.options(self.primary, self.standby, **more), check=check)

    def rejoin(self, check: bool = False, **more: Any) -> ModuleResult:
        """The old primary follows what was its standby."""
        return run_module("pg_standby", self.options(self.standby, self.primary, **more), check=check)

    def ask(self, state: str, check: bool = False, primary: bool = True, **more: Any) -> ModuleResult:
        options = self.options(self.primary, self.standby, **more) if primary else more
        return run_module("pg_standby", {**options, **self.standby.login(), "state": state}, check=check)


def part_from_primary(pair: Pair) -> None:
    """The standby is cut off, and started anew: it reaches nobody."""
    pair.standby.psql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1 user=nobody'")
    pair.standby.restart()
