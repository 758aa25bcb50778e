# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is named is the server's own: what stands for several, or is another one's, stops and starts who was not meant."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import takeover
from ansible_collections.holdfast.postgres.plugins.module_utils.server import instance

UNITS = {
    "postgresql": ("postgresql.service", "postgresql@15-main.service postgresql@16-main.service"),
    "postgresql@15-main": ("postgresql@15-main.service", ""),
    "postgresql@15-main.service": ("postgresql@15-main.service", ""),
    "pg": ("postgresql@15-main.service", ""),  # an alias
    "postgresql@16-main": ("postgresql@16-main.service", ""),
    "nginx": ("nginx.service", ""),
}


@pytest.mark.parametrize(
    ("by", "named", "unit"),
    [
        (None, None, None),
        (None, "nginx", "nginx"),  # nobody can tell
        ("postgresql@15-main", None, "postgresql@15-main"),
        ("postgresql@15-main", "postgresql@15-main", "postgresql@15-main"),
        ("postgresql@15-main", "postgresql@15-main.service", "postgresql@15-main.service"),
        ("postgresql@15-main", "pg", "pg"),
        ("postgresql@15-main", "postgresql", "postgresql@15-main"),
        ("postgresql@15-main", "postgresql@16-main", BadOption),
        ("postgresql@15-main", "nginx", BadOption),
    ],
)
def test_the_units_that_are_named(
    monkeypatch: pytest.MonkeyPatch, by: Optional[str], named: Optional[str], unit: Any
) -> None:
    def show(owner: Any, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        name, parts = UNITS[argv[-1]]
        return subprocess.CompletedProcess(argv, 0, f"ConsistsOf={parts}\nId={name}\n", "")

    monkeypatch.setattr(instance, "unit_of", lambda pid: by)
    monkeypatch.setattr(instance, "run_as", show)
    if unit is BadOption:
        with pytest.raises(BadOption, match="which runs by postgresql@15-main"):
            instance.own_unit(1, named)
    else:
        assert instance.own_unit(1, named) == unit


@pytest.mark.parametrize("ours", [True, False])
def test_a_unit_that_starts_another_server_has_not_started_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    asked: list[tuple[str, str]] = []

    def service(what: str, name: str) -> None:
        asked.append((what, name))
        if ours:
            (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")

    monkeypatch.setattr(takeover, "service", service)
    server = instance.Instance(str(tmp_path), "", getpass.getuser())
    if ours:
        takeover.start(server, "pg", 1)
    else:
        with pytest.raises(ServerError, match="no server runs in"):
            takeover.start(server, "pg", 0)
    assert asked == [("start", "pg")]
