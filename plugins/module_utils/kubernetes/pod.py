# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod in which a playbook of ours runs on itself, and the Secret with its variables. Pure: a request in, manifests out.

It satisfies the Pod Security Standard "restricted" (kubernetes.io, "Pod Security Standards"), has a root that cannot be written, and no token of
the API unless it was asked for.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names

CONTAINER = "holdfast"
HOME = "/home/holdfast"
#: where the variables are mounted, and what is read from Secrets of the user's
VARIABLES_DIR, SECRETS_DIR = "/etc/holdfast/variables", "/etc/holdfast/secrets"
VARIABLES = "variables.json"
#: bytes of a Secret (kubernetes.io, "Secrets")
LARGEST_SECRET = 1024 * 1024
MESSAGE = "/dev/termination-log"
#: seconds that another run's lock is waited for: a pod that was evicted leaves a lock whose end is known after three minutes
LOCK_WAIT = 240
GRACE = 60  # seconds in which a run that is stopped clears up

#: What may be begun again when its pod was evicted. The others change a server: somebody looks first.
AGAIN = frozenset(
    f"holdfast.postgres.{name}"
    for name in (
        "audit",
        "backup",
        "capture",
        "check",
        "copy",
        "health",
        "prune",
        "rotate_credentials",
        "status",
        "verify",
    )
)


@dataclass(frozen=True)
class Nfs:
    """A directory that an NFS server exports, and where it is mounted."""

    server: str
    export: str
    path: str


@dataclass(frozen=True)
class FromSecret:
    """A variable whose value is a key of a Secret that is there already."""

    variable: str
    secret: str
    key: str


@dataclass(frozen=True)
class RunRequest:
    """One playbook to run in a pod. ``claims`` and ``secrets``: name → where it is mounted; ``sub_paths``: the part of a claim that is, by its
    name. ``read_only``: where of ``claims`` and ``nfs`` nothing can be written. ``check``: in check mode. ``again``: whether a run that was
    evicted is begun anew; ``token``: whether the service account's token is mounted; ``user``, ``group``: numeric ids (None: the image's, the
    cluster's)."""

    namespace: str
    image: str
    playbook: str
    server_name: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    variables_from: Sequence[FromSecret] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    sub_paths: Mapping[str, str] = field(default_factory=dict)
    nfs: Sequence[Nfs] = ()
    read_only: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    service_account: Optional[str] = None
    token: bool = False
    node: Optional[str] = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    deadline: int = 6 * 3600
    again: bool = False
    check: bool = False
    user: Optional[int] = None
    group: Optional[int] = 1000
    pull_policy: Optional[str] = None
    pull_secrets: Sequence[str] = ()


def check(request: RunRequest) -> None:
    """What would only be seen in the cluster. Raises BadOption."""
    taken = dict.fromkeys(("/tmp", "/var/tmp", HOME, "/etc/holdfast"), "what the run itself has")
    mounts = [("claims", path) for path in request.claims.values()]
    mounts += [("secrets", path) for path in request.secrets.values()] + [("nfs", one.path) for one in request.nfs]
    for option, path in mounts:
        if not re.fullmatch(r"(/[^/:\0]+)+", path) or "/../" in f"{path}/" or "/./" in f"{path}/":
            raise BadOption(
                option, path, "is no path to mount at", "Write it from / on, without a slash at its end, '..' and ':'."
            )
        if path in taken:
            raise BadOption(option, path, f"is where {taken[path]} is mounted", "Give each a path of its own.")
        taken[path] = f"another one of {option}"
    mounted = {path for option, path in mounts if option != "secrets"}
    for path in request.read_only:
        if path not in mounted:
            raise BadOption(
                "read_only", path, "is no path at which a claim or an NFS server's directory is mounted",
                f"There is {', '.join(sorted(mounted)) or 'none'}.",
            )  # fmt: skip
    size = len(variables_file(request))
    if size > LARGEST_SECRET:
        raise BadOption(
            "variables", f"{size} bytes", "are more than a Secret holds (1 MiB)", "Mount what is large from a claim."
        )


def variables_file(request: RunRequest) -> bytes:
    """The file of variables that the run reads. A text with braces is itself, and no template: a password may have them."""
    base: dict[str, Any] = {
        "ansible_connection": "local",
        # A template on purpose: the Python of the image's ansible-playbook has what the modules need.
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    given: dict[str, Any] = {
        "holdfast_server_name": request.server_name,
        "holdfast_backup_lock_wait": LOCK_WAIT,
        **request.variables,
    }
    looked_up = {
        one.variable: "{{ lookup('ansible.builtin.file', '" + f"{SECRETS_DIR}/{one.secret}/{one.key}" + "') }}"
        for one in request.variables_from
    }
    content = {**base, **{name: _plain(value) for name, value in given.items()}, **looked_up}
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return {"__ansible_unsafe": value} if re.search(r"\{[{%#]", value) else value
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def secret(
    request: RunRequest, name: str, labels: Mapping[str, str], owner: Optional[Mapping[str, Any]] = None
) -> dict[str, Any]:
    """The Secret with the variables; gone with its ``owner``, where it has one."""
    metadata: dict[str, Any] = {"name": name, "namespace": request.namespace, "labels": dict(labels)}
    if owner:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {VARIABLES: base64.b64encode(variables_file(request)).decode()},
    }


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """So that the garbage collector deletes what belongs to ``owner``, an object as the API server answered it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def template(request: RunRequest, secret_name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The pod's template. ``secret_name``: the Secret with the variables."""
    mounts, volumes = _volumes(request, secret_name)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": request.token,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": _pod_security(request),
        "containers": [
            {
                "name": CONTAINER,
                "image": request.image,
                # Arguments alone: an image's entrypoint, which sees to users without a name and to signals, stays.
                "args": arguments(request),
                "env": _environment(),
                "resources": dict(request.resources),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePath": MESSAGE,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if request.pull_policy:
        spec["containers"][0]["imagePullPolicy"] = request.pull_policy
    if request.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in request.pull_secrets]
    if request.service_account:
        spec["serviceAccountName"] = request.service_account
    if request.node:
        # Not nodeName: the scheduler, and so the volume's limits and the node's taints, are to have their say. A node's label "hostname" need not
        # be its name.
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [request.node]}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    metadata = {"labels": dict(labels), "annotations": {names.SERVER_NAME: request.server_name}}
    return {"metadata": metadata, "spec": spec}


def arguments(request: RunRequest) -> list[str]:
    """What the container runs. No secret: whoever may read pods reads it."""
    return [
        "ansible-playbook",
        request.playbook,
        "--inventory",
        f"{request.server_name},",
        "--extra-vars",
        f"@{VARIABLES_DIR}/{VARIABLES}",
        *(["--check", "--diff"] if request.check else []),
    ]


def _environment() -> list[dict[str, Any]]:
    fixed = {
        "HOME": HOME,
        # A user id that no file knows has no name otherwise.
        "LOGNAME": "holdfast",
        "USER": "holdfast",
        "TMPDIR": "/tmp",
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible-local",
        "ANSIBLE_REMOTE_TMP": "/tmp/ansible-remote",
        "ANSIBLE_CALLBACKS_ENABLED": "holdfast.postgres.run_record",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "HOLDFAST_RUN_MESSAGE": MESSAGE,
    }
    named = {"HOLDFAST_RUN_ID": "metadata.name"}
    return [{"name": name, "value": value} for name, value in fixed.items()] + [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in named.items()
    ]


def _pod_security(request: RunRequest) -> dict[str, Any]:
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if request.user is not None:
        context["runAsUser"] = request.user
    if request.group is not None:
        # A claim's own directory is root's at first. What is there already is not walked through at each run.
        context.update(fsGroup=request.group, fsGroupChangePolicy="OnRootMismatch")
    return context


def _volumes(request: RunRequest, secret_name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mounts: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []

    def add(name: str, path: str, volume: dict[str, Any], read_only: bool = False) -> None:
        mounts.append({"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})})
        volumes.append({"name": name, **volume})

    add("tmp", "/tmp", {"emptyDir": {}})
    add("scratch", "/var/tmp", {"emptyDir": {}})
    add("home", HOME, {"emptyDir": {}})
    add("variables", VARIABLES_DIR, {"secret": {"secretName": secret_name, "defaultMode": 0o440}}, True)
    keys: dict[str, list[str]] = {}
    for one in request.variables_from:
        known = keys.setdefault(one.secret, [])
        if one.key not in known:
            known.append(one.key)
    for number, (name, wanted) in enumerate(keys.items()):
        items = [{"key": key, "path": key} for key in wanted]
        add(
            f"from-{number}",
            f"{SECRETS_DIR}/{name}",
            {"secret": {"secretName": name, "defaultMode": 0o440, "items": items}},
            True,
        )
    for number, (name, path) in enumerate(request.secrets.items()):
        add(f"secret-{number}", path, {"secret": {"secretName": name, "defaultMode": 0o440}}, True)
    for number, (name, path) in enumerate(request.claims.items()):
        add(f"claim-{number}", path, {"persistentVolumeClaim": {"claimName": name}}, path in request.read_only)
        if request.sub_paths.get(name):
            mounts[-1]["subPath"] = request.sub_paths[name]
    for number, export in enumerate(request.nfs):
        only = export.path in request.read_only
        nfs = {"server": export.server, "path": export.export, **({"readOnly": True} if only else {})}
        add(f"nfs-{number}", export.path, {"nfs": nfs}, only)
    return mounts, volumes
