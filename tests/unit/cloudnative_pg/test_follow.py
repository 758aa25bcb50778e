# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Backup that is followed: through its phases, and where it stays in one for ever. What an operator that is down leaves cannot be had from one
that other tests use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import follow as module
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.follow import follow
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress

Object = dict[str, Any]


class Operator:
    """Answers with one status after the other, and with the last one from then on; None: the Backup is gone."""

    namespace = "shop"

    def __init__(self, statuses: Sequence[Object | None], *events: str) -> None:
        self._statuses: Iterator[Object | None] = iter(statuses)
        self._last: Object | None = {}
        self._events = [{"type": "Warning", "message": event} for event in events]

    def get(self, kind: str, name: str) -> Object | None:
        self._last = next(self._statuses, self._last)
        return None if self._last is None else {"metadata": {"name": name}, "status": self._last}

    def events(self, kind: str, name: str) -> list[Object]:
        assert (kind, name) == ("Backup", "b")
        return self._events


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSEEN", 0.3)
    monkeypatch.setattr(module, "NOT_ARCHIVED", 0.5)


def phases(*names: str) -> list[Object | None]:
    return [{"phase": name} for name in names]


def test_through_its_phases(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    found = follow(Operator(phases("pending", "started", "running", "completed")), "b", 10, Progress(str(progress)))  # type: ignore[arg-type]
    assert found["status"]["phase"] == "completed"
    assert "running" not in json.loads(progress.read_text())["activity"]


@pytest.mark.parametrize(
    ("statuses", "events", "error", "said"),
    [
        ([{}], (), KubernetesError, "operator does not run"),
        (phases("started"), (), KubernetesError, "its phase is started .*the same run finds it again"),
        (phases("pending"), ("no pod is ready.",), KubernetesError, "Its events say: no pod is ready[.]$"),
        (phases("walArchivingFailing"), (), ServerError, "WAL is not archived"),
        (
            [{"phase": "running"}, {"phase": "failed", "error": "no space"}],
            (),
            ServerError,
            "failed: no space. There is no backup",
        ),
        ([{"phase": "running"}, None], (), Missing, "was deleted while it was waited for"),
    ],
)
def test_one_that_comes_to_no_end(
    statuses: list[Object | None], events: tuple[str, ...], error: type[Exception], said: str
) -> None:
    """Nobody looks at it; it stays in a phase; its WAL fails; it fails; it is deleted: told, at the latest at the deadline."""
    with pytest.raises(error, match=said):
        follow(Operator(statuses, *events), "b", 1.0, Progress(None))  # type: ignore[arg-type]


def test_archiving_that_comes_back() -> None:
    found = follow(
        Operator(phases("walArchivingFailing", "walArchivingFailing", "running", "completed")), "b", 10, Progress(None)
    )  # type: ignore[arg-type]
    assert found["status"]["phase"] == "completed"
