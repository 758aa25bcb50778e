# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a playbook in a cluster leaves: its record in the repository, whole, and a message of at most 4096 bytes that the kubelet
keeps with the pod (kubernetes.io, "Determine the Reason for Pod Failure")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import REPOSITORIES
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runs
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runs import RunKey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, without_secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import stores

COLLECTION = "holdfast.postgres."
#: bytes that a kubelet keeps of a container's message
LARGEST_MESSAGE = 4096
_LARGEST_CONSENT = 1024
#: what of a result is Ansible's own, or an excerpt of what a module was told
_LEFT_OUT = ("invocation", "exception", "warnings", "deprecations", "censored")


@dataclass
class RunNotes:
    """What is noted while a playbook runs."""

    run_id: str
    playbook: str = ""
    check: bool = False
    began: str = field(default_factory=lambda: format_time(utcnow()))
    tasks: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    #: the first failure, and the last thing that a role of ours said
    failure: Optional[str] = None
    said: Optional[str] = None
    #: options that a run without check mode would have to be given, as it destroys something
    consent: dict[str, Any] = field(default_factory=dict)

    def note(
        self, status: str, host: str, task: str, action: str, result: Mapping[str, Any], ignored: bool = False
    ) -> None:
        """A task ended: ``status`` is ok, failed or unreachable. Results are kept of our own modules, and of what failed."""
        self.changed = self.changed or bool(result.get("changed"))
        bad = status != "ok" and not ignored
        if bad and self.failure is None:
            self.failure = message_of(result) or f"{task}: {status}"
        said = result.get("msg") if action in ("debug", "ansible.builtin.debug") else None
        # The line to type that agrees to a plan is one for whoever is on this host.
        if not bad and isinstance(said, str) and not said.startswith("ansible-playbook "):
            self.said = said
        if action.startswith(COLLECTION) and isinstance(result.get("consent"), Mapping):
            self.consent.update(result["consent"])
        if bad or action.startswith(COLLECTION):
            kept = {"host": host, "task": task, "action": action, "status": status, "result": shown(result)}
            self.tasks.append({**kept, **({"ignored": True} if ignored else {})})

    def record(self, failed: bool) -> dict[str, Any]:
        """The whole of it, for the repository."""
        return {
            "version": 1,
            "id": self.run_id,
            "playbook": self.playbook,
            "check": self.check,
            "status": "failed" if failed else "ok",
            "changed": self.changed,
            "line": self.line(failed),
            "began": self.began,
            "ended": format_time(utcnow()),
            "tasks": self.tasks,
        }

    def line(self, failed: bool) -> str:
        """One line on how it went."""
        found = (self.failure or "It failed; the log says more.") if failed else (self.said or "Done.")
        return without_secrets(" ".join(found.split()))


def message_of(result: Mapping[str, Any]) -> str:
    """Why a task failed; of a loop, why its first failing item did."""
    for item in result.get("results") or []:
        if isinstance(item, Mapping) and item.get("failed"):
            return message_of(item)
    return str(result.get("msg") or result.get("reason") or "")


def shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """A task's result as it may be kept: nothing where it has ``no_log``."""
    if result.get("_ansible_no_log") or "censored" in result:
        return {"no_log": True}
    return {key: value for key, value in result.items() if key not in _LEFT_OUT and not key.startswith("_ansible")}


def termination(status: str, notes: RunNotes, line: str, where: Optional[RunKey]) -> bytes:
    """The message as JSON, within its limit. ``status``: ok, failed or stopped."""
    content: dict[str, Any] = {
        "holdfast": 1,
        "status": status,
        "changed": notes.changed,
        "id": notes.run_id,
        "key": where.key if where else None,
        "sha256": where.sha256 if where else None,
        "line": line,
        **({"consent": _bounded(notes.consent)} if notes.consent else {}),
    }
    data, kept = json.dumps(content, ensure_ascii=False).encode(), len(line)
    while len(data) > LARGEST_MESSAGE and kept:
        # A character takes six bytes at most.
        kept = max(0, kept - max(1, (len(data) - LARGEST_MESSAGE) // 6))
        content["line"] = line[:kept] + "…"
        data = json.dumps(content, ensure_ascii=False).encode()
    return data


def _bounded(consent: Mapping[str, Any]) -> Mapping[str, Any]:
    """What has to be agreed to; where that is too much to be said, the options alone."""
    return (
        consent if len(json.dumps(consent, ensure_ascii=False).encode()) <= _LARGEST_CONSENT else dict.fromkeys(consent)
    )


def shelves(variables: Mapping[str, Any]) -> list[Shelf]:
    """Where a run's record goes: the repositories of its variables. Raises HoldfastError."""
    there = stores(variables.get("holdfast_repositories"), variables.get("holdfast_repository"))
    if not there:
        return []
    result = ArgumentSpecValidator(REPOSITORIES).validate({"repositories": there})
    if result.error_messages:
        raise BadOption(
            "holdfast_repository", "…", f"cannot be used: {'; '.join(result.error_messages)}", "Look at its options."
        )
    server_name = str(variables.get("holdfast_server_name") or variables.get("inventory_hostname") or "main")
    return [
        Shelf(open_repository(options, where), server_name)
        for _name, options, where in named_repositories(result.validated_parameters)
    ]


def keep(notes: RunNotes, failed: bool, variables: Mapping[str, Any]) -> tuple[Optional[RunKey], list[str]]:
    """Write the record into each repository; where it is, and what went wrong."""
    problems: list[str] = []
    written: Optional[RunKey] = None
    content = notes.record(failed)
    try:
        found = shelves(variables)
    except HoldfastError as exc:
        return None, [str(exc)]
    for shelf in found:
        try:
            one = runs.write(shelf, notes.run_id, content)
            written = written or one
        except HoldfastError as exc:
            problems.append(f"The run's record was not written to {shelf.repository.description}: {exc}")
    return written, problems
