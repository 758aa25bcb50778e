# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script of a whole cluster that leaves no database but templates. Found: it ended by an IndexError."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import run
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.run import RestoreResult, RestoreRun


def test_a_cluster_without_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "databases", lambda connection: [{"name": "template1", "is_template": True}])
    restore: Any = RestoreRun.__new__(RestoreRun)
    restore._target = SimpleNamespace(connection=None)
    restore._before = SimpleNamespace(now=lambda text: None)
    restore._cluster_loader = SimpleNamespace(cluster=lambda dump: None)
    restore._loading = SimpleNamespace(notes=[])
    restore._progress, restore.outcome = Progress(None), RestoreResult()
    done = restore._cluster(SimpleNamespace(described="all.sql"), False)
    assert done.changed
    assert not done.restored
    assert "none was looked into" in done.proof.unproven[0]
