#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runbook_record
short_description: Keep the record of a runbook's run beside the backups
version_added: 0.1.0
description:
  - The role P(holdfast.postgres.runbook#role) calls it at the begin and end of each stage, so that the next start knows how far a run came, and goes on with it
    or takes it back.
  - A record lies beside the server's backups, as C(_dr/<id>.json), and has who is at the run, when each stage began and ended, what it found, and the
    time that it took.
  - One run of a mode is open at a time. A second start is refused with who is at the first; the controller tells whether that ansible-playbook still lives,
    where it is its own, and O(take_over) says so where it is another's.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
  check_mode:
    support: full
    details: Nothing is written. What a start would do is returned, or refused, as it would be.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each call writes down something that happened.
options:
  state:
    description:
      - V(looked) only reads which run is open. V(started) begins one, goes on with it, or begins to take it back. V(begun), V(done), V(failed) and
        V(undone) are of O(stage). V(waiting) lets the run wait at the gate O(stage). V(ended) closes it.
    type: str
    choices: [looked, started, begun, done, failed, undone, waiting, ended]
    default: looked
  scenario:
    description: The runbook's name.
    type: str
    required: true
  mode:
    description: Whether it is planned, rehearsed or done.
    type: str
    choices: [plan, rehearse, real]
    required: true
  subject:
    description: What is brought back, such as databases or a directory. A run is gone on with only for the same.
    type: dict
    default: {}
  run_id:
    description: Id of the run. Needed for all but V(looked) and V(started).
    type: str
  stage:
    description: Name of the stage.
    type: str
  continue:
    description: What is done with a run that was not brought to its end. V(resume) goes on after its last good stage, V(rollback) takes it back.
    type: str
    choices: [resume, rollback]
  take_over:
    description: Id of a run of which it is sure that nobody is at it any more, though it cannot be seen from here.
    type: str
  rto:
    description: The objective for the time until there is a server that serves, such as V(1h).
    type: str
  rpo:
    description: The objective for what would be lost, such as V(15min).
    type: str
  facts:
    description: What later stages need of this one.
    type: dict
    default: {}
  notes:
    description: Sentences for people, such as what could not be done, and why.
    type: list
    elements: str
    default: []
  error:
    description: Why the stage failed.
    type: str
  outcome:
    description: How the run ended.
    type: str
    choices: [done, rolled_back]
    default: done
  verdict:
    description: The verdict of the drill in it.
    type: str
  rpo_seconds:
    description: What would be lost, as the drill measured it.
    type: float
  operator:
    description: Who runs it. By default the user of the host.
    type: str
  holder:
    description: The process that is at the run. The action plugin gives it, and nobody else has to.
    type: dict
  gone:
    description: The holder that has ended, as the controller saw. The action plugin gives it.
    type: dict
seealso:
  - module: holdfast.postgres.pg_drill
"""

EXAMPLES = r"""
- name: Is a runbook of this server under way?
  holdfast.postgres.runbook_record:
    repository:
      path: /backups
    server_name: db1
    scenario: cluster_loss
    mode: real
"""

RETURN = r"""
run:
  description: The record, as it is now. Null, there is no open run.
  returned: success
  type: dict
decision:
  description: What a start does, V(new), V(resume) or V(rollback).
  returned: when O(state=started)
  type: str
todo:
  description: The stages that are left, in order. What only reads is done again, until the cut over is done.
  returned: success
  type: list
  elements: str
undo:
  description: The stages that a rollback takes back, the last first.
  returned: success
  type: list
  elements: str
held_by:
  description: The process that is at the run.
  returned: when it is refused for that
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import getpass
import secrets
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runbook, runbook_store
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import myself
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runbook import Run, Wanted
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, utcnow


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """One entry into the record, or a look at it."""
    params = module.params
    shelf = Shelf(open_repository(params["repository"]), params["server_name"])
    if params["state"] == "looked":
        run = runbook_store.find_open(shelf, runbook.REAL if params["mode"] == runbook.PLAN else params["mode"])
        return {"changed": False, **_told(run)}
    holder = params["holder"] or myself("runbook")
    if module.check_mode:
        return (
            _write(module, shelf, holder, warnings)
            if params["state"] == "started"
            else {"changed": True, **_told(None)}
        )
    with runbook_store.writing(shelf, warnings):
        return _write(module, shelf, holder, warnings)


def _write(module: AnsibleModule, shelf: Shelf, holder: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    params, now = module.params, format_exact(utcnow())
    if params["state"] == "started":
        return _start(module, shelf, holder, now, warnings)
    if params["run_id"] is None:
        raise BadOption("run_id", None, "is needed", "Name the run.")
    run = runbook_store.read(shelf, params["run_id"])
    if run.get("holder") is None or not runbook.same_holder(run["holder"], holder):
        raise runbook.UnderWay(
            f"The run {run['id']} is not this one's any more: {runbook.holds(run)}. Somebody took it over, or ended it. Nothing more is done here.",
            run.get("holder") or {},
        )
    run = _changed(run, params, now)
    runbook_store.write(shelf, run)
    return {"changed": True, **_told(run)}


def _changed(run: Run, params: dict[str, Any], now: str) -> Run:
    """The record with what happened. Raises BadOption."""
    state, stage = params["state"], params["stage"]
    if state == "ended":
        return runbook.end(run, params["outcome"], now, params["rpo_seconds"], params["verdict"])
    if stage not in runbook.STAGES:
        raise BadOption("stage", stage, "is no stage", f"Stages are {', '.join(runbook.STAGES)}.")
    if state == "begun":
        return runbook.begin(run, stage, now)
    if state == "waiting":
        return runbook.wait(run, stage)
    if state == "undone":
        return runbook.take_back(run, stage, now, params["notes"])
    return runbook.close(run, stage, state, now, params["facts"], params["notes"], params["error"])


def _start(
    module: AnsibleModule, shelf: Shelf, holder: dict[str, Any], now: str, warnings: list[str]
) -> dict[str, Any]:
    params = module.params
    wanted = Wanted(params["scenario"], params["mode"], params["subject"], params["continue"], params["take_over"])
    objectives = {
        f"{name}_seconds": parse_duration(params[name], name) if params[name] else None for name in ("rto", "rpo")
    }
    operator = params["operator"] or getpass.getuser()
    run, decision = runbook_store.find_open(shelf, wanted.mode), "new"
    if run is not None:
        gone = params["gone"] is not None and runbook.same_holder(run.get("holder"), params["gone"])
        decision = runbook.judge(run, wanted, holder, gone)
    elif wanted.go_on is not None:
        raise BadOption(
            "continue",
            wanted.go_on,
            f"has nothing to go on with: no run of {wanted.mode} of this server is open",
            "Leave it out.",
        )
    if run is not None and decision == "abandon":
        warnings.append(f"The {run['mode']} {run['id']} was not brought to its end; this one begins anew.")
        if not module.check_mode:
            runbook_store.write(shelf, runbook.end(run, "abandoned", now))
    if run is None or decision == "abandon":
        stamp = now.replace("-", "").replace(":", "").partition(".")[0].rstrip("Z") + "Z"
        run_id = runbook_store.name_of(stamp, wanted.mode, wanted.scenario, secrets.token_hex(3))
        run, decision = runbook.begin_run(run_id, wanted, holder, operator, objectives, now), "new"
    else:
        run = {**run, "holder": holder, "operator": operator}
    if not module.check_mode:
        runbook_store.write(shelf, run)
        runbook_store.forget(shelf, warnings)
    return {"changed": True, "decision": decision, **_told(run)}


def _told(run: Optional[Run]) -> dict[str, Any]:
    return {
        "run": run,
        "todo": runbook.todo(run) if run else [],
        "undo": runbook.to_take_back(run) if run else [],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORY,
            "state": {
                "type": "str",
                "choices": ["looked", "started", "begun", "done", "failed", "undone", "waiting", "ended"],
                "default": "looked",
            },
            "scenario": {"type": "str", "required": True},
            "mode": {"type": "str", "choices": list(runbook.MODES), "required": True},
            "subject": {"type": "dict", "default": {}},
            "run_id": {"type": "str"},
            "stage": {"type": "str"},
            "continue": {"type": "str", "choices": list(runbook.CONTINUE)},
            "take_over": {"type": "str"},
            "rto": {"type": "str"},
            "rpo": {"type": "str"},
            "facts": {"type": "dict", "default": {}},
            "notes": {"type": "list", "elements": "str", "default": []},
            "error": {"type": "str"},
            "outcome": {"type": "str", "choices": ["done", "rolled_back"], "default": "done"},
            "verdict": {"type": "str"},
            "rpo_seconds": {"type": "float"},
            "operator": {"type": "str"},
            "holder": {"type": "dict"},
            "gone": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
