# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a runbook's run: what the next start may do with one that was not brought to its end, and what becomes of it stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runbook, runbook_store
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runbook import Run, UnderWay, Wanted
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

ME = {"host": "a", "boot_id": "b1", "pid_namespace": "n", "pid": 7, "process_started": "70"}
OTHER = {**ME, "pid": 8, "process_started": "80"}
SHOP = {"databases": ["shop"]}


def wanted(go_on: Optional[str] = None, **more: Any) -> Wanted:
    given: dict[str, Any] = {"scenario": "single_table", "mode": "real", "subject": SHOP, "take_over": None, **more}
    return Wanted(go_on=go_on, **given)


def run_of(*stages: str, mode: str = "real", last: str = "done", holder: Any = None) -> Run:
    """A run in which these stages are done, but for the last, which is in the state ``last``. Each takes ten seconds, one after the other."""
    run = runbook.begin_run(
        f"20261126T120000Z-{mode}-single_table-aa", wanted(mode=mode), holder or ME, "eva", {}, at(0)
    )
    for number, stage in enumerate(stages):
        run = runbook.begin(run, stage, at(10 * number))
        state = last if stage == stages[-1] else "done"
        if state != "begun":
            run = runbook.close(run, stage, state, at(10 * number + 10), {})
    return run


def at(seconds: int) -> str:
    return f"2026-11-26T12:{seconds // 60:02d}:{seconds % 60:02d}Z"


BEFORE = runbook.STAGES[:4]  # up to protect


@pytest.mark.parametrize(
    "run, ask, gone, answer",
    [
        pytest.param(run_of(*BEFORE, last="begun"), wanted("resume"), True, "resume", id="a dead one is gone on with"),
        pytest.param(run_of(*BEFORE, last="failed"), wanted("rollback"), True, "rollback", id="or is taken back"),
        pytest.param(run_of(*BEFORE), wanted(), True, "resume to go on with isolate.*rollback", id="it has to be said"),
        pytest.param(run_of(*BEFORE), wanted("resume"), False, "eva on a, process 7", id="somebody is at it"),
        pytest.param(
            run_of(*BEFORE),
            wanted("resume", take_over="20261126T120000Z-real-single_table-aa"),
            False,
            "resume",
            id="taken over by its id",
        ),
        pytest.param(run_of(*BEFORE), wanted("resume", take_over="other"), False, "under way", id="another id"),
        pytest.param(runbook.wait(run_of(*BEFORE), "gate_cut_over"), wanted("resume"), False, "resume", id="it waits, and nobody holds it"),
        pytest.param(run_of(*BEFORE, holder=OTHER), wanted(), False, "continue", id="a second start of the same ansible-playbook"),
        pytest.param(run_of(*BEFORE), wanted("resume", scenario="corruption"), True, "another runbook", id="another runbook"),
        pytest.param(run_of(*BEFORE), wanted("resume", subject={"databases": ["blog"]}), True, "something else", id="another subject"),
        pytest.param(run_of(*runbook.STAGES[:9], last="begun"), wanted("rollback"), True, "cannot take back", id="cut over begun"),
        pytest.param(run_of(*runbook.STAGES[:9], last="begun"), wanted("resume"), True, "resume", id="cut over begun, gone on with"),
        pytest.param(run_of("assess", mode="rehearse"), wanted(mode="rehearse"), True, "abandon", id="a rehearsal begins anew"),
        pytest.param(run_of("assess", mode="rehearse"), wanted(mode="rehearse"), False, "under way", id="a rehearsal under way"),
    ],
)  # fmt: skip
def test_what_a_start_does_with_an_open_run(run: Run, ask: Wanted, gone: bool, answer: str) -> None:
    if answer in ("resume", "rollback", "abandon"):
        assert runbook.judge(run, ask, OTHER, gone) == answer
        return
    with pytest.raises((BadOption, UnderWay), match=answer) as refused:
        runbook.judge(run, ask, OTHER, gone)
    assert "othing" in str(refused.value) or "end it first" in str(refused.value) or "kept" in str(refused.value)


@pytest.mark.parametrize(
    "run, left",
    [
        (run_of(), ["assess", "plan", "gate_begin"]),
        (run_of(*BEFORE, last="begun"), ["assess", "plan", "protect"]),
        (run_of(*BEFORE, last="failed"), ["assess", "plan", "protect"]),
        (run_of(*BEFORE), ["assess", "plan", "isolate"]),
        (run_of(mode="rehearse"), ["assess", "plan", "protect", "recover", "validate", "record"]),
        (run_of(*runbook.STAGES[:9], last="begun"), ["assess", "plan", "cut_over", "reopen", "record"]),
        (run_of(*runbook.STAGES[:9]), ["reopen", "record"]),
        (run_of(*runbook.STAGES[:10], last="failed"), ["reopen", "record"]),
        (run_of(*runbook.STAGES), ["record"]),
    ],
)
def test_what_is_left(run: Run, left: list[str]) -> None:
    """Found: a run that was killed when all was done, before it was closed, had nothing left, and stayed open; one that had cut over was planned once
    more, and where that was refused nobody let applications in again."""
    assert runbook.todo(run)[: len(left)] == left
    assert not {"isolate", "cut_over"} & set(runbook.stages_of("rehearse"))


def test_a_run_that_failed_is_nobodys() -> None:
    """Each job of AWX is a controller of its own: the one that takes the run back could not know that the one that failed has ended."""
    failed = run_of(*BEFORE, last="failed")
    for go_on in runbook.CONTINUE:
        assert runbook.judge(failed, wanted(go_on), OTHER, False) == go_on
    assert run_of(*BEFORE, last="begun")["holder"] == run_of(*BEFORE)["holder"] == ME


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ME, {**ME, "since": "later"}, True),
        (ME, OTHER, False),
        (ME, {**ME, "host": "renamed"}, True),
        ({**ME, "boot_id": "", "pid_namespace": "", "process_started": None}, {**ME, "boot_id": "", "pid_namespace": "", "process_started": None}, True),
        ({**ME, "boot_id": ""}, {**ME, "boot_id": "", "host": "b"}, False),
        (None, ME, False),
        ({}, {}, False),
    ],
)  # fmt: skip
def test_who_is_at_a_run_is_known_again(one: Any, other: Any, same: bool) -> None:
    """Also on a controller without /proc (macOS), where every stage was refused as another one's."""
    assert runbook.same_holder(one, other) is same


def test_what_was_taken_back_keeps_its_notes() -> None:
    run = runbook.take_back(run_of(*runbook.STAGES[:5]), "isolate", at(60), ["Applications are still away."])
    assert runbook.end(run, "rolled_back", at(70))["notes"] == ["Applications are still away."]


def test_stages_have_an_order() -> None:
    """A stage begins when those before it are done, and ends when it was begun; one of another mode never does."""
    for stage in ("protect", "cut_over"):
        with pytest.raises(BadOption, match="is not done"):
            runbook.begin(run_of("assess"), stage, at(0))
    with pytest.raises(BadOption, match="no stage of the mode"):
        runbook.begin(run_of("assess", mode="rehearse"), "cut_over", at(0))
    with pytest.raises(BadOption, match="was not begun"):
        runbook.close(run_of("assess"), "plan", "done", at(0), {})
    assert runbook.to_take_back(run_of(*runbook.STAGES[:5], last="failed")) == ["isolate"]
    assert runbook.to_take_back(run_of(*BEFORE)) == []


def test_recovery_time_is_what_applications_waited() -> None:
    """Gates, and what passed before a killed run was gone on with, are in it."""
    whole = run_of(*runbook.STAGES[:9])
    assert runbook.rto_seconds(whole) == 90
    assert runbook.rto_seconds(run_of(*BEFORE)) is None
    killed = runbook.begin(run_of(*runbook.STAGES[:9], last="begun"), "cut_over", at(100))
    assert runbook.rto_seconds(runbook.close(killed, "cut_over", "done", at(130), {})) == 130
    rehearsed = run_of(*runbook.stages_of("rehearse")[:-1], mode="rehearse")
    assert runbook.rto_seconds(rehearsed) == 50


@pytest.mark.parametrize(
    "objectives, rpo, drilled, verdict",
    [
        ({"rto_seconds": 90, "rpo_seconds": 5}, 5.0, "pass", "pass"),
        ({"rto_seconds": 89}, None, "pass", "missed"),
        ({"rpo_seconds": 5}, 6.0, "pass", "missed"),
        ({"rto_seconds": 90}, None, None, "pass"),
        ({"rto_seconds": 90}, None, "partial", "partial"),
    ],
)
def test_verdicts(objectives: dict[str, Any], rpo: Optional[float], drilled: Optional[str], verdict: str) -> None:
    run = {**run_of(*runbook.STAGES[:9]), "objectives": objectives}
    ended = runbook.end(run, "done", at(200), rpo, drilled)
    assert (ended["verdict"], ended["holder"], runbook.is_open(ended)) == (verdict, None, False)
    assert runbook.end(run, "rolled_back", at(200))["verdict"] is None


def test_a_record_is_read_as_it_was_written_or_not_at_all(tmp_path: Path) -> None:
    """The kind: a record that cannot be believed. Members: no JSON, another one's, a changed stage, a newer format, what is no record."""
    shelf = Shelf(FileRepository(str(tmp_path)), "db1")
    run = run_of(*BEFORE)
    warnings: list[str] = []
    with runbook_store.writing(shelf, warnings):
        runbook_store.write(shelf, run)
    assert runbook_store.find_open(shelf, "real") == run and not warnings
    assert runbook_store.find_open(shelf, "rehearse") is None
    path = tmp_path / "db1/_dr" / f"{run['id']}.json"
    good = json.loads(path.read_text())
    stages = [{**good["stages"][0], "state": "begun"}, *good["stages"][1:]]
    for content in (
        "{",
        "[]",
        "{}",
        {**good, "id": "x"},
        {**good, "stages": stages},
        {**good, "format": 2},
        {**good, "facts": None},
    ):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(CatalogError, match="Then move the record out of the repository"):
            runbook_store.find_open(shelf, "real")
    path.write_text(json.dumps(good))
    with runbook_store.writing(shelf, warnings):
        runbook_store.write(shelf, runbook.end(run, "done", at(100)))
    assert runbook_store.find_open(shelf, "real") is None


def test_old_records_hinder_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: what tidies up fails what it is called by. Members: an old record that is damaged, one that may not be deleted."""
    monkeypatch.setattr(runbook_store, "KEPT", 1)
    shelf = Shelf(FileRepository(str(tmp_path)), "db1")
    runs = [
        runbook.end({**run_of(), "id": f"2026112{day}T120000Z-real-single_table-aa"}, "done", at(9)) for day in range(4)
    ]
    for run in runs:
        runbook_store.write(shelf, run)
    (tmp_path / "db1/_dr" / f"{runs[0]['id']}.json").write_text("{")
    warnings: list[str] = []
    runbook_store.forget(shelf, warnings)
    assert runbook_store.ids(shelf) == [runs[0]["id"], runs[3]["id"]]
    assert len(warnings) == 1 and runs[0]["id"] in warnings[0]

    def refuse(key: str) -> None:
        raise RepositoryError(f"{key} may not be deleted")

    monkeypatch.setattr(shelf.repository, "delete", refuse)
    runbook_store.write(shelf, {**runs[3], "id": "20261201T120000Z-real-single_table-aa"})
    runbook_store.forget(shelf, warnings)
    assert len(runbook_store.ids(shelf)) == 3 and "2 old records" in warnings[1]
