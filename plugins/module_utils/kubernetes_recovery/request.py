# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a recovery in a StatefulSet's own volume, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names, options, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target

#: characters of a StatefulSet's name, so that our Jobs' names fit
LONGEST_NAME = 32


@dataclass(frozen=True)
class Request:
    """``pod``: of our Jobs, by the options of k8s_job; ``recover``: variables of the playbook recover; ``timeout``: seconds that the server
    may take to stop, or to be ready; ``deadline``: seconds of one Job; ``beside``: settings of a server that stands beside the one it comes from, which is
    kept from reaching out (None: it takes its place); ``check_time``: seconds for looking through what was recovered, as thoroughly as ``amcheck`` says."""

    stateful_set: str
    container: str
    target: Target
    option: Mapping[str, Any]
    pod: Mapping[str, Any]
    recover: Mapping[str, Any]
    server_name: str
    login_user: Optional[str]
    force: bool
    confirm: tuple[str, ...]
    on_managed: str
    argocd_namespace: str
    timeout: float
    deadline: int
    beside: Optional[Mapping[str, str]] = None
    amcheck: str = "none"
    check_time: int = 0

    def said(self) -> str:
        """Where it goes, for people."""
        return self.target.describe()

    def digest(self, namespace: str) -> str:
        """Tells one recovery from another."""
        # Without the store, whose credentials may have been rotated since a run that was killed.
        recover = {name: value for name, value in self.recover.items() if name != "holdfast_repository"}
        content = {"target": dict(self.option), "recover": recover, "server": self.server_name}
        return names.digest(f"{namespace}/{self.stateful_set}", content)

    def run_request(self, place: Place, variables: Mapping[str, Any], user: int, **more: Any) -> RunRequest:
        """The run of the playbook ``recover`` in a pod. Raises BadOption."""
        flat = {
            **self.pod,
            "playbook": "holdfast.postgres.recover",
            "server_name": self.server_name,
            "variables": {**self.recover, **variables, **self.pod["variables"]},
            "deadline": f"{self.deadline}s",
            "run_as_user": user,
            "fs_group": -1 if place.fs_group is None else place.fs_group,
        }
        made = options.request(flat, place.namespace)
        return RunRequest(**{**vars(made), **more})

    def check(self) -> None:
        """Raise BadOption for what would only be seen in the cluster."""
        if not self.pod["image"]:
            raise BadOption(
                "pod.image", self.pod["image"], "is missing", "Name the collection's image, as the cluster pulls it."
            )
        names.check_name("stateful_set", self.stateful_set, LONGEST_NAME)


@dataclass
class Result:
    """What was done, or would be. ``recovery``: where it landed; ``kept``: where the old data is; ``next_steps``: sentences
    about what is to be done now."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    step: str = ""
    recovery: dict[str, Any] = field(default_factory=dict)
    kept: Optional[str] = None
    proof: Proof = field(default_factory=Proof)
    next_steps: list[str] = field(default_factory=list)
    isolated: list[str] = field(default_factory=list)  # of a clone
    consent: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return {
            "changed": self.changed,
            "plan": self.plan,
            "step": self.step,
            "recovery": self.recovery,
            "kept": self.kept,
            "proof": self.proof.describe(),
            "next_steps": self.next_steps,
            "consent": self.consent,
        }


def request_of(params: Mapping[str, Any]) -> Request:
    """Raises BadOption."""
    option = {name: value for name, value in (params["recovery_target"] or {}).items() if value is not None}
    recover: dict[str, Any] = {
        "holdfast_recovery_target": option,
        "holdfast_recover_backup_id": params["backup_id"],
        "holdfast_recover_keep_archiving": params["keep_archiving"],
        "holdfast_recover_settings": params["settings"],
        "holdfast_recover_accept_unsigned": params["accept_unsigned"],
        "holdfast_recover_prepare": True,
        "holdfast_recover_in_place": True,
        "holdfast_config_dir": f"{pod.HOME}/servers",
    }
    if params["repository"]:
        recover["holdfast_repository"] = {
            name: value for name, value in params["repository"].items() if value is not None
        }
    return Request(
        params["stateful_set"],
        params["container"],
        Target.from_option(option, "recovery_target"),
        option,
        params["pod"],
        recover,
        params["server_name"],
        params["login_user"],
        params["force"],
        tuple(params["confirm"]),
        params["on_managed"],
        params["argocd_namespace"],
        float(parse_duration(params["timeout"], "timeout")),
        int(parse_duration(params["deadline"], "deadline")),
        amcheck=params["amcheck"],
        check_time=int(parse_duration(params["check_time"], "check_time")),
    )


def sentences(found: Mapping[str, Any], proof: Proof) -> None:
    """Take in what a pod said of its proof."""
    for key in ("proven", "unproven", "lost"):
        told: Sequence[Any] = found.get(key) or ()
        getattr(proof, key).extend(str(one) for one in told)
