# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Deployment of playbooks that go on: one pod, one container a playbook, no secret in it, and a new pod where the variables are others."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.deployment import (
    DeploymentRequest,
    check,
    container_name,
    deployment,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import troubles

RUN = RunRequest("shop", "holdfast:1", "", "shop", {"holdfast_login_password": "hush-hush"}, claims={"wal": "/wal"})
REQUEST = DeploymentRequest("receive", RUN, ["holdfast.postgres.archive", "holdfast.postgres.ship"])


def template(request: DeploymentRequest) -> dict[str, Any]:
    made: dict[str, Any] = deployment(request)["spec"]["template"]
    return made


def test_one_pod_with_a_container_for_each_playbook() -> None:
    made = deployment(REQUEST)
    spec = made["spec"]["template"]["spec"]
    assert made["spec"]["replicas"] == 1 and made["spec"]["strategy"] == {"type": "Recreate"}
    assert made["spec"]["selector"]["matchLabels"].items() <= made["spec"]["template"]["metadata"]["labels"].items()
    assert spec["restartPolicy"] == "Always" and spec["automountServiceAccountToken"] is False
    receive, ship = spec["containers"]
    assert (receive["name"], ship["name"]) == ("archive", "ship")
    assert "holdfast.postgres.archive" in receive["args"] and "holdfast.postgres.ship" in ship["args"]
    assert "pg_receivewal" in receive["readinessProbe"]["exec"]["command"][-1]
    assert receive["volumeMounts"] == ship["volumeMounts"] and "hush-hush" not in json.dumps(made)
    assert deployment(replace(REQUEST, replicas=0))["spec"]["replicas"] == 0


@pytest.mark.parametrize(("there", "error", "ready"), [(False, None, True), (True, None, True), (True, "away", False)])
def test_who_ships_is_ready_unless_a_store_is_away(
    tmp_path: Path, there: bool, error: Optional[str], ready: bool
) -> None:
    """By what shipping writes down after each pass; a directory that is not there yet says nothing."""
    run = replace(RUN, variables={"holdfast_wal_directory": f"{tmp_path}/"})
    ship = template(replace(REQUEST, run=run))["spec"]["containers"][1]
    if there:
        state = {"format": 1, "stores": {"s3": {"name": "s3", "error": error}}}
        (tmp_path / "shop" / "_wal").mkdir(parents=True)
        (tmp_path / "shop" / "_wal" / ".shipped.json").write_text(json.dumps(state))
    probe = subprocess.run(ship["readinessProbe"]["exec"]["command"], check=False)
    assert (probe.returncode == 0) is ready


def test_other_variables_are_another_pod_and_the_same_are_none() -> None:
    mark = template(REQUEST)["metadata"]["annotations"][names.DIGEST]
    other = replace(REQUEST, run=replace(RUN, variables={"holdfast_login_password": "another one"}))
    assert template(REQUEST)["metadata"]["annotations"][names.DIGEST] == mark
    assert template(other)["metadata"]["annotations"][names.DIGEST] != mark


@pytest.mark.parametrize(
    "playbooks", [[], ["holdfast.postgres.ship", "holdfast.postgres.ship"], ["a.b.ship", "c.d.ship"]]
)
def test_playbooks_have_containers_of_their_own(playbooks: list[str]) -> None:
    with pytest.raises(BadOption, match="playbooks"):
        check(replace(REQUEST, playbooks=playbooks))


def test_names() -> None:
    assert container_name("holdfast.postgres.rotate_credentials") == "rotate-credentials"
    with pytest.raises(BadOption, match="name"):
        check(replace(REQUEST, name="Receive"))


def test_what_a_container_of_ours_said_is_told_in_words() -> None:
    """Not the line of JSON that it is wrapped in; and the cause, which comes first, also where more came on top."""
    said = "pg_receivewal ended: the disk is full. " + "The run's record was not written, as the store is away. " * 12
    line = json.dumps({"holdfast": 1, "status": "failed", "line": said})
    ended = {"exitCode": 2, "reason": "Error", "message": line}
    status = {
        "name": "archive",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    seen: Manifest = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "status": {"containerStatuses": [status]},
    }
    (trouble,) = troubles([seen])
    assert "the disk is full." in trouble.message and "holdfast" not in trouble.message.replace("shop/p", "")
