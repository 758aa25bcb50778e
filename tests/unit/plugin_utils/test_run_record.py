# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run in a pod says as it ends, and its record: within limits, without secrets, and proven by a sum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runs
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runs import RunKey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.plugin_utils.run_record import RunNotes, shelves, termination

KEY = RunKey("db1/_runs/x.json", "0" * 64)


@pytest.mark.parametrize("line", ["short", "x" * 10_000, "ü" * 10_000, '"' * 10_000, "\u0000\n" * 5000, "🐘" * 5000])
def test_a_message_is_within_its_limit(line: str) -> None:
    data = termination("failed", RunNotes("x" * 63), line, KEY)
    assert len(data) <= 4096
    said = json.loads(data)
    assert said["key"] == KEY.key and said["sha256"] == KEY.sha256 and line.startswith(said["line"].rstrip("…"))


@pytest.mark.parametrize(("names", "told"), [(["shop"], ["shop"]), (["a" * 63] * 60, None)])
def test_what_has_to_be_agreed_to_is_said(names: list[str], told: Optional[list[str]]) -> None:
    """By options, and within the limit; the line that agrees on this host is of no use elsewhere."""
    notes = RunNotes("x")
    result = {"consent": {"force": True, "confirm": names}}
    notes.note("ok", "shop", "Restore", "holdfast.postgres.pg_restore", result)
    for line in ("Check mode, nothing was done.", "ansible-playbook -e holdfast_restore_force=true"):
        notes.note("ok", "shop", "Say", "ansible.builtin.debug", {"msg": line})
    data = termination("ok", notes, notes.line(False), None)
    said = json.loads(data)
    assert said["consent"]["confirm"] == told and said["line"] == "Check mode, nothing was done." and len(data) <= 4096


def test_what_counts_as_the_reason() -> None:
    """The first failure that nobody ignored, of a loop its first failing item; a secret in a message is none any more."""
    notes = RunNotes("x")
    notes.note("failed", "h", "look", "holdfast.postgres.server_user", {"failed": True, "msg": "ignored"}, ignored=True)
    items = [{"failed": False}, {"failed": True, "msg": "password=hunter2 is wrong"}]
    notes.note("failed", "h", "loop", "ansible.builtin.command", {"results": items, "msg": "One or more items failed"})
    notes.note("failed", "h", "later", "ansible.builtin.command", {"msg": "later"})
    assert notes.line(failed=True) == "password=*** is wrong"
    assert [task["task"] for task in notes.tasks] == ["look", "loop", "later"]


def test_what_is_kept_of_a_result() -> None:
    notes = RunNotes("x")
    hidden = {"changed": True, "censored": "the output has been hidden", "token": "s3cret"}
    notes.note("ok", "h", "quiet", "holdfast.postgres.azure_sas", hidden)
    told = {"changed": False, "invocation": {"module_args": {"login_password": "s3cret"}}, "_ansible_x": 1, "backup": 1}
    notes.note("ok", "h", "told", "holdfast.postgres.pg_backup", told)
    notes.note("ok", "h", "other", "ansible.builtin.command", {"stdout": "s3cret"})
    notes.note("ok", "h", "said", "ansible.builtin.debug", {"msg": "Backup made."})
    record = notes.record(failed=False)
    assert [task["result"] for task in record["tasks"]] == [{"no_log": True}, {"changed": False, "backup": 1}]
    assert record["line"] == "Backup made." and record["changed"] and "s3cret" not in json.dumps(record)


def test_records_are_bounded_and_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 3)
    shelf = Shelf(FileRepository(str(tmp_path)), "db1")
    keys = [runs.write(shelf, f"run-{number}", {"number": number}) for number in range(5)]
    assert len(list((tmp_path / "db1" / "_runs").iterdir())) == 3
    assert runs.read(shelf, keys[-1]) == {"number": 4}
    (tmp_path / keys[-1].key).write_text('{"number": 5}')
    with pytest.raises(CatalogError, match="sha256"):
        runs.read(shelf, keys[-1])
    with pytest.raises(HoldfastError):
        runs.write(shelf, "../../x", {})


def test_where_it_is_kept() -> None:
    """As the roles read it: several take precedence, an empty answer of a survey is none."""
    assert shelves({}) == [] and shelves({"holdfast_repository": ""}) == []
    two = [{"path": "/a"}, {"type": "file", "path": "/b", "retention": {"keep_last": 1}}]
    found = shelves({"holdfast_repositories": two, "holdfast_repository": {"path": "/c"}, "inventory_hostname": "db7"})
    assert [(shelf.repository.description, shelf.name) for shelf in found] == [
        ("the repository /a", "db7"),
        ("the repository /b", "db7"),
    ]
    with pytest.raises(HoldfastError):
        shelves({"holdfast_repository": {"type": "nfs"}})
