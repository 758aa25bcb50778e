# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind: silence (2.35, 3.8). Who does not answer is named after ten seconds, and not first when it is given up after a minute. Members:
a run with progress of its own, a module that has none, a store, a program, several waits at once; one that ended is said no more."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import progress
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.program import Barman
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress, waiting_for
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.plugin_utils.progress import line
from lab.http_fault import HOLD, HttpProxy


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SOON", 0.2)
    monkeypatch.setattr(progress, "_waiting", {})


def told(path: Path, whom: str) -> dict[str, Any]:
    """What the file says, once it says for whom the run waits."""

    def look() -> Any:
        state = json.loads(path.read_text()) if path.exists() else {}
        return state if whom in str(state.get("waiting")) else None

    seen = Waiter(10, 0.02).until({"told": look})
    assert seen, path.read_text() if path.exists() else "nothing was said"
    found: dict[str, Any] = seen.value
    return found


def test_the_longest_wait_is_said_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    run = Progress(str(path), "backup_facts")
    with waiting_for("the first"):
        state = told(path, "the first")
        assert "backup_facts" in line(state)
        assert "waiting for the first, for" in line(state)
        with waiting_for("the second"):
            assert "the first" in told(path, "for 1 s")["waiting"]
    run.tell(5, None)
    seen = Waiter(10, 0.02).until({"silent": lambda: json.loads(path.read_text())["waiting"] is None or None})
    assert seen
    run.finish()
    with waiting_for("the third"):
        Waiter(1.5, 0.1).until({"never": lambda: None})
    assert json.loads(path.read_text())["done"]


def test_what_a_target_says_does_not_write_to_a_terminal() -> None:
    said = line({"activity": "x", "waiting": "a\x1b[2Jb", "seconds": 0})
    assert said.endswith("waiting for a?[2Jb")


@pytest.mark.parametrize("work", ["list", "stat", "read", "write"])
def test_a_store(tmp_path: Path, work: str) -> None:
    path = tmp_path / "progress"
    Progress(str(path))
    with HttpProxy(1) as way, way.rule(lambda request: HOLD):
        options = {name: spec.get("default") for name, spec in STORE.items()}
        own = {"type": "s3", "bucket": "b", "access_key": "a", "secret_key": "b", "endpoint_url": way.url}
        store = open_repository({**options, **own})
        works: dict[str, Any] = {
            "list": lambda: list(store.list("main")),
            "stat": lambda: store.stat("main/a"),
            "read": lambda: store.read("main/a"),
            "write": lambda: store.write("main/a", b"x"),
        }

        def run() -> None:
            with suppress(RepositoryError):  # when the one that holds it goes
                works[work]()

        threading.Thread(target=run, daemon=True).start()
        asked = {"read": "look", "stat": "look"}.get(work, work)
        assert way.url in told(path, f"which was asked to {asked}")["waiting"]


def test_a_program(tmp_path: Path) -> None:
    """Barman's listing went on for seven minutes without a word."""
    path = tmp_path / "progress"
    Progress(str(path))
    program = tmp_path / "barman-cloud-backup-list"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    program.chmod(0o755)
    failed: list[ToolError] = []

    def run() -> None:
        try:
            Barman(str(tmp_path), "root", {}, True).run("backup-list", timeout=3)
        except ToolError as exc:
            failed.append(exc)

    running = threading.Thread(target=run)
    running.start()
    told(path, "barman-cloud-backup-list")
    running.join()
    assert failed
