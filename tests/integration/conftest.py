# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all integration tests have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import RunningModule, fork_modules
from lab.standbys import Pair


@pytest.fixture(scope="session", autouse=True)
def forked_modules() -> None:
    """Modules start in a tenth of the time."""
    fork_modules()


@pytest.fixture
def running() -> Iterator[list[RunningModule]]:
    """Modules that a test started; none of them outlives it."""
    started: list[RunningModule] = []
    yield started
    for module in started:
        module.kill()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty directory for backups."""
    path = tmp_path / "repository"
    path.mkdir()
    return path


@pytest.fixture
def pair(server_factory: Any) -> Iterator[Pair]:
    """A primary and what will be its standby, of PostgreSQL 18."""
    with Pair.made(server_factory, 18) as made:
        yield made
