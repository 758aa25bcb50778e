# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications that are stopped for a while, and started again to the very same counts: what stands on the objects, and what is
patched (pure).

An annotation has the count, in the same patch that takes it: so nothing is ever stopped that does not say itself how to start it
(kubectl scale). https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions is why of two runs at once one looks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX

KINDS = ("Deployment", "StatefulSet", "CronJob")
#: annotations of what we stopped: the count that it had; of a CronJob that it was not suspended
REPLICAS, SUSPEND = f"{PREFIX}replicas", f"{PREFIX}suspend"
#: whom we paused for it: "kind namespace/name", with ", " between
PAUSED = f"{PREFIX}paused"


@dataclass(frozen=True)
class Target:
    """An object by its name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class App:
    """A Deployment, StatefulSet or CronJob as it is now."""

    object: Manifest

    @property
    def target(self) -> Target:
        metadata = self.object["metadata"]
        return Target(self.object["kind"], metadata["namespace"], metadata["name"])

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def is_cron_job(self) -> bool:
        return bool(self.object["kind"] == "CronJob")

    @property
    def notes(self) -> dict[str, str]:
        return dict(self.object["metadata"].get("annotations") or {})

    @property
    def running(self) -> int:
        """How many pods it is to have; of a CronJob 1 while it is not suspended."""
        spec = self.object.get("spec") or {}
        if self.is_cron_job:
            return 0 if spec.get("suspend") else 1
        replicas = spec.get("replicas")
        return 1 if replicas is None else int(replicas)

    @property
    def stopped(self) -> Optional[int]:
        """The count that it had when we stopped it; None: we did not. Raises KubernetesError: the annotation says nothing."""
        if self.is_cron_job:
            return 1 if SUSPEND in self.notes else None
        text = self.notes.get(REPLICAS)
        if text is None:
            return None
        if not text.isdecimal():
            raise KubernetesError(
                f"The annotation {REPLICAS} of the {self.target} is {text!r}, and no count: somebody changed it. Correct it, or remove it "
                "and start the application by hand."
            )
        return int(text)

    @property
    def paused(self) -> list[str]:
        """Whom we paused for it."""
        return [one for one in self.notes.get(PAUSED, "").split(", ") if one]

    def shown(self) -> dict[str, Any]:
        """As a difference shows it."""
        notes = {key: value for key, value in self.notes.items() if key in (REPLICAS, SUSPEND, PAUSED)}
        spec = {"suspend": self.running == 0} if self.is_cron_job else {"replicas": self.running}
        return {
            "kind": self.target.kind,
            "metadata": {"namespace": self.target.namespace, "name": self.target.name, "annotations": notes},
            "spec": spec,
        }

    def count(self) -> str:
        """What it is to have, for a plan."""
        if self.is_cron_job:
            return "not suspended" if self.running else "suspended"
        return f"{self.running} pod" + ("" if self.running == 1 else "s")


def entry_of(app: App, when: str) -> dict[str, Any]:
    """What a record keeps of one that is stopped."""
    target = app.target
    return {
        "uid": app.uid,
        "kind": target.kind,
        "namespace": target.namespace,
        "name": target.name,
        "replicas": app.running,
        "stopped_at": when,
    }


def stopping(app: App, paused: list[str]) -> Manifest:
    """The merge patch that stops it and writes down what it had."""
    notes: dict[str, Optional[str]] = {SUSPEND: "false"} if app.is_cron_job else {REPLICAS: str(app.running)}
    if paused:
        notes[PAUSED] = ", ".join(dict.fromkeys([*app.paused, *paused]))
    return _patch(app, notes, 0)


def intending(app: App, paused: list[str]) -> Manifest:
    """The merge patch that says who is about to be paused for it: whoever goes on after a kill finds them by it."""
    return _patch(app, {PAUSED: ", ".join(dict.fromkeys([*app.paused, *paused]))}, None)


def starting(app: App, replicas: Optional[int]) -> Manifest:
    """The merge patch that starts it with so many; None: it runs, and only what we wrote goes. Whom we paused stays written until he goes on."""
    return _patch(app, {SUSPEND: None, REPLICAS: None}, replicas)


def resumed(app: App) -> Manifest:
    """The merge patch that forgets who was paused for it."""
    return _patch(app, {PAUSED: None}, None)


def _patch(app: App, notes: dict[str, Optional[str]], replicas: Optional[int]) -> Manifest:
    metadata = {"resourceVersion": app.object["metadata"].get("resourceVersion"), "annotations": notes}
    body: Manifest = {"metadata": metadata}
    if replicas is not None:
        body["spec"] = {"suspend": replicas == 0} if app.is_cron_job else {"replicas": replicas}
    return body


def who_changed(manifest: Manifest, field: str) -> Optional[str]:
    """The manager who set a field of ``spec`` last; None: nobody says. Ours too."""
    found = [
        entry
        for entry in (manifest.get("metadata") or {}).get("managedFields") or ()
        if f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    latest: Union[Manifest, None] = max(found, key=lambda entry: str(entry.get("time") or ""), default=None)
    return str(latest.get("manager")) if latest else None
