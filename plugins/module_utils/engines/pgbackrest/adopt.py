# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pgBackRest that somebody else configured: its backups and WAL are read, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.reader import Reader
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

#: where pgBackRest looks by itself, in its order
CONFIGURATIONS = ("/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf")
# It tries four times; its own io-timeout is 60 seconds, and there may be several repositories.
_PATIENCE = 600.0


def adopt(host: Host, stanza: str, configuration: Optional[str] = None, program: Optional[str] = None) -> Adopted:
    """The engine of an existing ``pgbackrest.conf``, by default one of CONFIGURATIONS.

    Raises:
        BadOption: there is no such file.
    """
    path = configuration or next((path for path in CONFIGURATIONS if os.path.exists(path)), None)
    if path is None or not os.path.isfile(path):
        raise BadOption(
            "configuration",
            path or list(CONFIGURATIONS),
            "is not there",
            "Name pgBackRest's configuration file, or set it up here.",
        )
    return Adopted(host, stanza, path, program)


class Adopted(Reader):
    """``configuration`` is the path of its file."""

    def __init__(self, host: Host, stanza: str, configuration: str, program: Optional[str] = None) -> None:
        # Named explicitly, it would not be joined by what lies in conf.d beside it.
        known = configuration in CONFIGURATIONS
        named = os.path.basename(configuration) == "pgbackrest.conf"
        option = f"--config-path={os.path.dirname(configuration)}" if named else f"--config={configuration}"
        config_options = () if known else (option,)
        self._configuration = configuration
        super().__init__(
            host, stanza, program, config_options, _PATIENCE, f"the WAL archive of {stanza} as {configuration} says"
        )

    def configuration_files(self) -> Sequence[str]:
        return []  # somebody else's, which is read and never written

    def configure(self, check: bool) -> list[Step]:
        return []

    def prepare(self, check: bool) -> list[Step]:
        return []

    def _back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        raise self._read_only("back_up")

    def delete(self, labels: Sequence[str], check: bool, warnings: list[str]) -> list[str]:
        raise self._read_only("delete")

    def _read_only(self, what: str) -> BadOption:
        return BadOption(
            "engine", what, f"is not done with {self._configuration}, which somebody else keeps",
            "Go on with it as you did, or give repositories, so that pgBackRest is configured here.",
        )  # fmt: skip
