# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a clone, from those of the server that it comes from: other names, other labels, claims of its own, and nothing that leads back (pure).

What somebody outside finds a Service by (addresses, ports of nodes, names in DNS) stays the former one's, and so does what scales, restricts or backs
up that server.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.holdfast.postgres.plugins.module_utils.capture import mapping
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import pod_specs
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import pod_references
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import (
    claims_of,
    meta,
    selects,
    spec_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.arguments import in_text, overruled
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.labels import relabelled

#: on all that is a clone's: its name; which server it comes from
CLONE, CLONE_OF = f"{PREFIX}clone", f"{PREFIX}clone-of"
CLAIM = "PersistentVolumeClaim"
#: kinds that a clone has of its own; with claims, which are made before its StatefulSet needs them
KINDS = ("ServiceAccount", "Secret", "ConfigMap", CLAIM, "Service", "NetworkPolicy", "StatefulSet")
#: what is not cloned, and why
LEFT_OUT: Mapping[str, str] = {
    "CronJob": "would do for it what they do for the server: back it up in the same place, say",
    "HorizontalPodAutoscaler": "scale the server",
    "ScaledObject": "scale the server",
    "PodDisruptionBudget": "are for the server's pods",
    "Role": "a clone has no rights in the cluster's API",
    "RoleBinding": "a clone has no rights in the cluster's API",
}
#: volumes that every pod that names them shares
_SHARED = ("nfs", "hostPath", "azureFile", "cephfs", "glusterfs", "iscsi", "rbd", "fc", "csi")
_SPEAKS = re.compile(r"HOST|NODE|ADDR|URL|URI|DSN|CONNINFO|MASTER|PRIMARY|PARTNER|UPSTREAM|SERVER")


@dataclass(frozen=True)
class Wanted:
    """``old``, ``former``: the StatefulSet and its namespace; ``new``, ``namespace``: the clone's; ``names``: new ones of objects, by ``Kind/name``;
    ``storage_class``, ``size``: of the claim ``data``, empty: as it is."""

    old: str
    former: str
    new: str
    namespace: str
    names: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = ""
    size: str = ""


@dataclass
class Made:
    """``objects``: the StatefulSet with one pod, as it is to run; ``doubts``: by what the clone may reach the former one all the same."""

    objects: Manifests
    doubts: list[str] = field(default_factory=list)


def pruned(stateful_set: Manifest, server: str, keep: Sequence[str]) -> tuple[Manifest, list[str]]:
    """The StatefulSet with PostgreSQL's container and those in ``keep`` alone, and the volumes that these mount; and what was left out."""
    made = copy.deepcopy(stateful_set)
    spec = made["spec"]["template"]["spec"]
    stays = {server, *keep}
    gone = [str(one["name"]) for one in spec["containers"] if one["name"] not in stays]
    spec["containers"] = [one for one in spec["containers"] if one["name"] in stays]
    begin = spec.get("initContainers") or []
    # A sidecar is an init container that is restarted always; the others prepare what the server needs.
    gone += [str(one["name"]) for one in begin if one.get("restartPolicy") == "Always" and one["name"] not in stays]
    kept = [one for one in begin if one.get("restartPolicy") != "Always" or one["name"] in stays]
    if begin:
        spec["initContainers"] = kept
    mounted = {
        str(one["name"])
        for each in (*spec["containers"], *kept)
        for part in ("volumeMounts", "volumeDevices")
        for one in each.get(part) or ()
    }
    if spec.get("volumes"):
        spec["volumes"] = [one for one in spec["volumes"] if one["name"] in mounted]
    if made["spec"].get("volumeClaimTemplates"):
        made["spec"]["volumeClaimTemplates"] = [
            one for one in made["spec"]["volumeClaimTemplates"] if meta(one)["name"] in mounted
        ]
    return made, gone


def referred(stateful_set: Manifest) -> set[str]:
    """All that its pods refer to, as ``Kind/name``."""
    spec = spec_of(spec_of(stateful_set).get("template") or {})
    return {f"{kind}/{holder[at]}" for kind, holder, at in pod_references.of_pod(spec)}


def needed_secrets(stateful_set: Manifest) -> set[str]:
    """Secrets without which its pods do not start."""
    spec = spec_of(spec_of(stateful_set).get("template") or {})
    found = ((kind, holder, at) for kind, holder, at in pod_references.of_pod(spec) if kind == "Secret")
    return {str(holder[at]) for _kind, holder, at in found if not holder.get("optional")}


def claims(stateful_set: Manifest) -> set[str]:
    """Those that it makes for its first pod, as ``Kind/name``."""
    return {f"{CLAIM}/{name}" for name in claims_of(stateful_set, _ordinal(stateful_set)).values()}


def new_names(objects: Sequence[Manifest], stateful_set: Manifest, wanted: Wanted) -> dict[str, str]:
    """New names by ``Kind/name``. Raises BadOption: two would have one."""
    found = {f"StatefulSet/{wanted.old}": wanted.new}
    own = claims(stateful_set)
    for one in objects:
        if key(one) in own or key(one) in found:
            continue
        found[key(one)] = wanted.names.get(key(one)) or new_name(str(meta(one)["name"]), wanted.old, wanted.new)
    strange = sorted(set(wanted.names) - set(found))
    if strange:
        raise BadOption(
            "names", strange, "is nothing that is cloned", f"There are: {', '.join(sorted(set(found) - {f'StatefulSet/{wanted.old}'}))}."
        )  # fmt: skip
    taken: dict[tuple[str, str], str] = {}
    for former, name in found.items():
        same = taken.setdefault((former.partition("/")[0], name), former)
        if same != former:
            raise BadOption(
                "names", name, f"would be the name of both {same} and {former}", "Give one of them another."
            )
    return found


def new_name(name: str, old: str, new: str) -> str:
    """The name of an object that belongs to the clone: with the new name in place of the former one, where it has that, else with it at its end."""
    if old == new:
        return name
    made, count = re.subn(rf"(?<![a-z0-9]){re.escape(old)}(?![a-z0-9])", new, name, count=1)
    return made if count else f"{name}-{new}"


def claim_name(name: str, stateful_set: Manifest, wanted: Wanted, names: Mapping[str, str]) -> str:
    """What a claim of the server's is called in the clone."""
    end = f"-{wanted.old}-{_ordinal(stateful_set)}"
    if f"{CLAIM}/{name}" in claims(stateful_set):
        return f"{name[: -len(end)]}-{wanted.new}-{_ordinal(stateful_set)}"
    return names.get(f"{CLAIM}/{name}", name)


def clone_of(
    objects: Sequence[Manifest],
    stateful_set: Manifest,
    wanted: Wanted,
    names: Mapping[str, str],
    changed: Mapping[str, str],
    data: str,
) -> Made:
    """``objects``: stripped; ``stateful_set``: the ``pruned`` one of them; ``changed``: labels of the clone's pods; ``data``: the claim of PGDATA."""
    chosen = [
        stateful_set if key(one) == f"StatefulSet/{wanted.old}" else one for one in objects if one["kind"] in KINDS
    ]
    labels = dict(meta(stateful_set["spec"]["template"]).get("labels") or {})
    ordinal = _ordinal(stateful_set)
    pods = {f"{wanted.old}-{ordinal}": f"{wanted.new}-{ordinal}"}
    found = mapping.mapped(chosen, wanted.former, wanted.namespace, names)
    made = Made([], list(found.unchanged))
    services = {str(meta(one)["name"]) for one in chosen if one["kind"] == "Service"}
    renamed = {one for one in services if names.get(f"Service/{one}", one) != one}
    for one, before in zip(found.objects, chosen):
        new = relabelled(one, labels, changed, pods)
        _of_clone(new, wanted)
        if new["kind"] == "Service":
            _service(new)
        elif new["kind"] == "StatefulSet":
            _stateful_set(new, wanted, data)
            made.doubts += [*_shared(new), *_speaks(new, renamed)]
        elif new["kind"] == CLAIM and str(meta(before)["name"]) == data:
            _claim(new, wanted)
        elif new["kind"] == "ConfigMap" and new.get("data"):
            new["data"] = {name: in_text(text) for name, text in new["data"].items()}
        elif new["kind"] == "NetworkPolicy" and _covers(new, labels, wanted):
            continue
        made.objects.append(new)
    return made


def _covers(policy: Manifest, labels: Mapping[str, str], wanted: Wanted) -> bool:
    """Whether a policy is for both servers as it is: a copy would let more into the one that is there."""
    return wanted.former == wanted.namespace and selects(spec_of(policy).get("podSelector") or {}, labels)


def _ordinal(stateful_set: Manifest) -> int:
    return int((spec_of(stateful_set).get("ordinals") or {}).get("start") or 0)


def _of_clone(made: Manifest, wanted: Wanted) -> None:
    """Marks of whoever keeps the former one (GitOps, Helm, DNS, clouds) are not the clone's."""
    labels = {
        name: value
        for name, value in (meta(made).get("labels") or {}).items()
        if not re.match(r"argocd\.argoproj\.io/|(kustomize|helm)\.toolkit\.fluxcd\.io/", name)
        and (name, value) != ("app.kubernetes.io/managed-by", "Helm")
    }
    made["metadata"]["labels"] = {**labels, CLONE: wanted.new}
    made["metadata"]["annotations"] = {CLONE_OF: f"{wanted.former}/{wanted.old}"}


def _service(made: Manifest) -> None:
    spec = made["spec"]
    ports = [{name: value for name, value in one.items() if name != "nodePort"} for one in spec.get("ports") or ()]
    kept = {name: spec[name] for name in ("selector", "publishNotReadyAddresses", "sessionAffinity") if name in spec}
    made["spec"] = {**kept, "ports": ports, "type": "ClusterIP"}
    if spec.get("clusterIP") == "None":
        made["spec"]["clusterIP"] = "None"


def _stateful_set(made: Manifest, wanted: Wanted, data: str) -> None:
    spec = made["spec"]
    spec["replicas"] = 1
    spec.pop("persistentVolumeClaimRetentionPolicy", None)  # its claims stay, whatever is done with it
    template = spec["template"]
    template["metadata"]["labels"] = {**(meta(template).get("labels") or {}), CLONE: wanted.new}
    for pod in pod_specs(made):
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            for part in ("command", "args"):
                if container.get(part):
                    container[part] = overruled(container[part])
            for one in container.get("env") or ():
                if isinstance(one.get("value"), str):
                    one["value"] = in_text(one["value"])
    for one in spec.get("volumeClaimTemplates") or ():
        if data == f"{meta(one)['name']}-{wanted.old}-{_ordinal(made)}":
            _claim(one, wanted)


def _claim(made: Manifest, wanted: Wanted) -> None:
    if wanted.storage_class:
        made["spec"]["storageClassName"] = wanted.storage_class
    if wanted.size:
        made["spec"].setdefault("resources", {})["requests"] = {"storage": wanted.size}


def _shared(made: Manifest) -> Iterator[str]:
    for volume in spec_of(spec_of(made)["template"]).get("volumes") or ():
        source = next((one for one in _SHARED if one in volume), None)
        if source is not None:
            yield f"The volume {volume['name']} ({source}) is the one that the server has: what is written there, both see."


def _speaks(made: Manifest, renamed: set[str]) -> Iterator[str]:
    """Variables that seem to name one of the former one's Services, as a short name, which nothing rewrites."""
    for pod in pod_specs(made):
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            for one in container.get("env") or ():
                value, name = one.get("value"), str(one.get("name"))
                words = set(re.split(r"[^a-z0-9-]+", value)) if isinstance(value, str) else set()
                if _SPEAKS.search(name) and words & renamed:
                    yield (
                        f"The variable {name} of the container {container['name']} says {value!r}, by which the clone may speak with the server that it comes "
                        "from."
                    )
