# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a clone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import (
    LONGEST_NAME,
    Request,
    request_of,
)

#: where its data is from: a backup in a repository, or what lies on its claims already (pvc_snapshot)
BACKUP, CLAIMS = "backup", "claims"
OWN, SHARED = "own", "shared"


@dataclass(frozen=True)
class CloneRequest:
    """``source``: the StatefulSet that it is a clone of; ``name``, ``namespace``: of the clone (None: the same namespace); ``data``: BACKUP or CLAIMS;
    ``secrets``: OWN or SHARED; ``recovery``: of its data; ``user``, ``fs_group``: as whom its data is written, where the pod does not say."""

    source: str
    name: str
    namespace: Optional[str]
    data: str
    names: Mapping[str, str]
    secrets: str
    keep_containers: tuple[str, ...]
    storage_class: str
    size: str
    user: Optional[int]
    fs_group: Optional[int]
    recovery: Request

    def of_objects(self, namespace: str) -> str:
        """A digest of what the clone is made of."""
        content = {
            "of": self.source, "data": self.data, "names": dict(self.names), "secrets": self.secrets, "keep": list(self.keep_containers),
            "storage_class": self.storage_class, "size": self.size,
        }  # fmt: skip
        return names.digest(f"{namespace}/{self.name}", content)

    def digest(self, namespace: str, target: str) -> str:
        """Tells one clone from another. ``namespace``: the source's; ``target``: the clone's."""
        return f"{self.of_objects(namespace)}-{self.recovery.digest(target)}"


def clone_request_of(params: Mapping[str, Any]) -> CloneRequest:
    """Raises BadOption."""
    pod = dict(params["pod"])
    user, fs_group = pod.pop("run_as_user"), pod.pop("fs_group")
    settings = {"listen_addresses": "*", **{str(name): str(value) for name, value in params["settings"].items()}}
    flat = {
        **params, "pod": pod, "stateful_set": params["name"], "keep_archiving": False, "settings": settings, "force": False, "confirm": [],
        "on_managed": "refuse", "argocd_namespace": "", "amcheck": "none", "check_time": "1s",
    }  # fmt: skip
    if params["data"] == CLAIMS and not any(value is not None for value in (params["recovery_target"] or {}).values()):
        flat["recovery_target"] = {"immediate": True}  # what lies there, and no more
    asked = request_of(flat)
    # It stands beside: what could reach out of it is switched off, and its program looks for nobody's former place.
    recover = {**asked.recover, "holdfast_recover_in_place": False}
    request = CloneRequest(
        params["stateful_set"],
        params["name"],
        params["namespace"] or None,
        params["data"],
        params["names"],
        params["secrets"],
        tuple(params["keep_containers"]),
        params["storage_class"] or "",
        params["size"] or "",
        user,
        fs_group,
        replace(asked, recover=recover, beside=settings),
    )
    _check(request)
    return request


def _check(request: CloneRequest) -> None:
    names.check_name("name", request.name, LONGEST_NAME)
    request.recovery.check()
    if request.data == BACKUP and not (
        request.recovery.recover.get("holdfast_repository") or request.recovery.pod["variables"]
    ):
        raise BadOption("repository", None, "is missing", "Say where the backups are, or use data: claims.")
    for name, new in request.names.items():
        kind, slash, _rest = name.partition("/")
        if not slash or not isinstance(new, str):
            raise BadOption("names", {name: new}, "is no new name of an object", "Write Kind/name: new-name.")
        if kind == "StatefulSet":
            raise BadOption("names", name, "is named by another option", "Use name.")
