# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody's archive is not replaced unasked, whether it works already or waits for the restart that begins it."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving import setup
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError

THEIRS, OURS = "pgbackrest --stanza=shop archive-push %p", "ours"


class Wal:
    def is_own(self, command: Optional[str]) -> bool:
        return command == OURS


@pytest.mark.parametrize(
    ("running", "files", "refused"),
    [
        ({"archive_mode": "off"}, {}, False),
        ({"archive_mode": "off"}, {"archive_mode": "OFF", "archive_command": THEIRS}, False),
        ({"archive_mode": "off"}, {"archive_mode": "on", "archive_command": THEIRS}, True),
        ({"archive_mode": "off"}, {"archive_mode": "always", "archive_library": "basic_archive"}, True),
        ({"archive_mode": "off"}, {"archive_mode": "on", "archive_command": OURS}, False),
        ({"archive_mode": "off"}, {"archive_mode": "on"}, False),
        ({"archive_mode": "on", "archive_command": THEIRS}, {"archive_mode": "on"}, True),
        ({"archive_mode": "on", "archive_command": OURS}, {"archive_mode": "on"}, False),
    ],
)
def test_an_archive_of_somebody_else(
    monkeypatch: pytest.MonkeyPatch, running: dict[str, str], files: dict[str, str], refused: bool
) -> None:
    monkeypatch.setattr(setup.facts, "setting", lambda connection, name: running.get(name))
    monkeypatch.setattr(setup, "running_command", lambda connection: running.get("archive_command"))
    monkeypatch.setattr(setup, "configured", lambda connection, name: files.get(name, ""))
    request, nothing = setup.ArchivingRequest("1min", None, None, None, False, False), setup.ArchivingResult()
    connection: Any = None
    wal: Any = Wal()
    if refused:
        with pytest.raises(ServerError, match="archives already"):
            setup._refuse_takeover(connection, wal, OURS, request, nothing, Consent())
        plan = Consent(looking=True)
        setup._refuse_takeover(connection, wal, OURS, request, nothing, plan)
        assert plan.missing == {"replace": True}
    else:
        setup._refuse_takeover(connection, wal, OURS, request, nothing, Consent())
