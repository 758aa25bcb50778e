# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the objects of a server to what is to know of it, by references and never by guessed names (pure).

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ has the fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.images import major
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod_references import read_by_containers

#: environment variables by which images are told the superuser's password, and those that name its role, which else is postgres; some name a file
#: instead, with _FILE. Bitnami and sclorg have one for an application's role besides: the superuser's own come first.
# bitnami/postgresql, sclorg, docker-library/postgres, spilo, crunchy; libpq's own last
PASSWORDS: Mapping[str, tuple[str, ...]] = {
    "POSTGRESQL_POSTGRES_PASSWORD": (),
    "POSTGRES_POSTGRES_PASSWORD": (),
    "POSTGRESQL_ADMIN_PASSWORD": (),
    "POSTGRES_PASSWORD": ("POSTGRES_USER",),
    "POSTGRESQL_PASSWORD": ("POSTGRESQL_USERNAME", "POSTGRESQL_USER"),
    "PGPASSWORD_SUPERUSER": ("PGUSER_SUPERUSER",),
    "PG_ROOT_PASSWORD": (),
    "PGPASSWORD": ("PGUSER",),
}
_SUPERUSER = "postgres"
_OF_SERVER = re.compile(r"^(PGDATA|PGROOT|POSTGRES(QL)?_\w+|PGPASSWORD\w*|PGUSER\w*|PATRONI_\w+)$")
_IMAGE = re.compile(r"(^|[/_-])(postgres|postgresql|postgis|timescaledb|spilo|cnpg|crunchy-postgres|pgvector)", re.I)
_PRIMARY_LABELS = {
    "role": ("primary", "master"),
    "spilo-role": ("master", "primary"),
    "cnpg.io/instanceRole": ("primary",),
    "app.kubernetes.io/component": ("primary",),
    "postgres-operator.crunchydata.com/role": ("master", "primary"),
}
_PORT = 5432


@dataclass
class Objects:
    """What was read of a server. None: it could not be looked at; an empty list: there is none."""

    pods: Manifests
    template: Manifest  # of the pods: the specification of one, or the StatefulSet's
    stateful_set: Optional[Manifest] = None
    deployment: Optional[Manifest] = None
    services: Optional[Manifests] = None
    claims: Mapping[str, Manifest] = field(default_factory=dict)
    volumes: Mapping[str, Manifest] = field(default_factory=dict)
    classes: Mapping[str, Manifest] = field(default_factory=dict)
    snapshot_classes: Optional[Manifests] = None
    autoscalers: Optional[Manifests] = None
    scaled_objects: Optional[Manifests] = None
    budgets: Optional[Manifests] = None
    config_maps: Mapping[str, Manifest] = field(default_factory=dict)


@dataclass(frozen=True)
class Mount:
    """Where a container has a volume. ``source``: persistentVolumeClaim, emptyDir, … ; ``claim``: its name; ``of``: the name of a ConfigMap or Secret."""

    volume: str
    path: str
    sub_path: str
    source: str
    claim: Optional[str]
    of: Optional[str] = None


def meta(manifest: Manifest) -> Manifest:
    return manifest.get("metadata") or {}


def spec_of(manifest: Manifest) -> Manifest:
    return manifest.get("spec") or {}


def containers(pod_spec: Manifest) -> Manifests:
    """Those that run as long as the pod: sidecars are init containers that are restarted always."""
    sidecars = [one for one in pod_spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    return [*(pod_spec.get("containers") or ()), *sidecars]


def server_container(pod_spec: Manifest, wanted: str = "") -> Optional[Manifest]:
    """The container of PostgreSQL: the one of that name; the only one; the only one that looks like it. None: it cannot be told."""
    all_of_them = containers(pod_spec)
    if wanted:
        return next((one for one in all_of_them if one.get("name") == wanted), None)
    if len(all_of_them) == 1:
        return all_of_them[0]
    scores = [(_likeness(one), one) for one in all_of_them]
    best = max((score for score, _one in scores), default=0)
    likely = [one for score, one in scores if score == best]
    return likely[0] if best and len(likely) == 1 else None


def _likeness(container: Manifest) -> int:
    names = {str(one.get("name")) for one in container.get("env") or ()}
    ports = {one.get("containerPort") for one in container.get("ports") or ()}
    image = str(container.get("image") or "").rpartition("@")[0] or str(container.get("image") or "")
    exporter = "exporter" in image
    return (
        4 * ("PGDATA" in names)
        + 2 * any(map(_OF_SERVER.match, names)) * (not exporter)
        + 2 * (_PORT in ports)
        + (bool(_IMAGE.search(image)) and not exporter)
    )


def is_postgres(pod_spec: Manifest) -> bool:
    """Whether a container of it looks like a server of PostgreSQL: by PGDATA, or by two of its variables, its port and its image."""
    return any(_likeness(one) >= 3 for one in containers(pod_spec))


def environment(container: Manifest, config_maps: Mapping[str, Manifest]) -> dict[str, Optional[str]]:
    """The variables of a container; None: the value is not known, as it is in a Secret, or in what was not read. What ``env`` says
    takes precedence over ``envFrom``, and ``$(NAME)`` is what stands before."""
    found: dict[str, Optional[str]] = {}
    for source in container.get("envFrom") or ():
        name = (source.get("configMapRef") or {}).get("name")
        for key, value in ((config_maps.get(name) or {}).get("data") or {}).items() if name else ():
            found[f"{source.get('prefix') or ''}{key}"] = value
    for one in container.get("env") or ():
        if "valueFrom" in one:
            reference = (one["valueFrom"] or {}).get("configMapKeyRef") or {}
            data = (config_maps.get(str(reference.get("name"))) or {}).get("data") or {}
            found[one["name"]] = data.get(str(reference.get("key")))
        else:
            found[one["name"]] = re.sub(
                r"\$\((\w+)\)", lambda match: str(found.get(match[1]) or match[0]), str(one.get("value") or "")
            )
    return found


def data_directory(container: Manifest, variables: Mapping[str, Optional[str]]) -> tuple[Optional[str], Optional[str]]:
    """PGDATA, and who says so: ``environment``, ``arguments`` or ``image`` (what the image's own documentation says); None, None: nobody."""
    given = variables.get("PGDATA")
    if given:
        return _normal(given), "environment"
    words = [str(one) for one in (*(container.get("command") or ()), *(container.get("args") or ()))]
    for word, following in zip(words, [*words[1:], ""]):
        found = (
            following
            if word in ("-D", "--pgdata")
            else word[2:]
            if word.startswith("-D/")
            else word.partition("=")[2]
            if word.startswith("--pgdata=")
            else ""
        )
        if found.startswith("/"):
            return _normal(found), "arguments"
    image = str(container.get("image") or "")
    if re.search(r"(^|/)bitnami(legacy)?/postgresql(-repmgr)?[:@]", image):
        return _normal(variables.get("POSTGRESQL_DATA_DIR") or "/bitnami/postgresql/data"), "image"
    if re.search(
        r"^(docker\.io/)?(library/)?postgres(:|@|$)|(^|/)(postgis/postgis|pgvector/pgvector|timescale/timescaledb)[:@]",
        image,
    ):
        version = major(image)
        # https://github.com/docker-library/docs/tree/master/postgres#pgdata
        if version is not None:
            return (f"/var/lib/postgresql/{version}/docker" if version >= 18 else "/var/lib/postgresql/data"), "image"
    return None, None


def claims_of(top: Manifest, ordinal: int) -> dict[str, str]:
    """The claims that a StatefulSet makes for one of its pods, by the volumes' names.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage
    """
    name = meta(top)["name"]
    return {
        meta(one)["name"]: f"{meta(one)['name']}-{name}-{ordinal}"
        for one in spec_of(top).get("volumeClaimTemplates") or ()
    }


def mounts(pod_spec: Manifest, container: Manifest, claim_of: Mapping[str, str]) -> list[Mount]:
    """``claim_of``: the claims that a StatefulSet makes for the pod, by the volumes' names."""
    sources: dict[str, tuple[str, Optional[str], Optional[str]]] = {
        name: ("persistentVolumeClaim", claim, None) for name, claim in claim_of.items()
    }
    for volume in pod_spec.get("volumes") or ():
        source = next((key for key in volume if key != "name"), "emptyDir")
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        of = (volume.get("configMap") or {}).get("name") or (volume.get("secret") or {}).get("secretName")
        sources[volume["name"]] = (source, claim, of)
    found = []
    for one in container.get("volumeMounts") or ():
        source, claim, of = sources.get(one["name"], ("unknown", None, None))
        sub_path = str(one.get("subPath") or one.get("subPathExpr") or "").strip("/")
        found.append(Mount(one["name"], _normal(one["mountPath"]), sub_path, source, claim, of))
    return found


def below(path: str, top: str) -> bool:
    """Whether a path is ``top``, or lies below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def mount_of(path: str, found: Iterable[Mount]) -> Optional[Mount]:
    """The mount that a path lies on: the longest prefix."""
    return max((one for one in found if below(path, one.path)), key=lambda one: len(one.path), default=None)


def path_in_volume(path: str, mount: Mount) -> str:
    """Where in the volume it is; empty: the volume's own top."""
    return "/".join(filter(None, (mount.sub_path, path[len(mount.path) :].strip("/"))))


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in str(path).split("/") if part not in ("", "."))


def rules_file(container: Manifest, data: Optional[str], said: Optional[str] = None) -> Optional[str]:
    """The path of pg_hba.conf: as the server ``said``, as an argument does, else in ``data``, PGDATA; None: PGDATA is not known, or a
    configuration file of one's own may say another."""
    words = [str(one) for one in (*(container.get("command") or ()), *(container.get("args") or ()))]
    settings = {
        found.group(1): found.group(2)
        for word in words
        if (found := re.match(r"(?:--)?(hba[_-]file|config[_-]file|data[_-]directory)=(/.+)", word))
    }
    given = said or settings.get("hba_file") or settings.get("hba-file")
    if given:
        return _normal(given)
    return None if settings or data is None else f"{data}/pg_hba.conf"


@dataclass(frozen=True)
class References:
    """Which ConfigMaps and Secrets a pod uses. ``password``: ``{secret, key, variable, user}``, and null where none is told."""

    config_maps: tuple[str, ...]
    secrets: tuple[str, ...]
    pull_secrets: tuple[str, ...]
    password: Optional[Manifest]


def references(
    pod_spec: Manifest, container: Optional[Manifest], variables: Optional[Mapping[str, Optional[str]]] = None
) -> References:
    """By volumes, variables and pull secrets of all containers. ``variables``: the container's, as ``environment`` has them."""
    maps: list[str] = []
    secrets: list[str] = []
    for kind, holder, at in read_by_containers(pod_spec):
        (maps if kind == "ConfigMap" else secrets).append(str(holder[at]))
    pull = [str(one.get("name")) for one in pod_spec.get("imagePullSecrets") or () if one.get("name")]
    return References(
        tuple(dict.fromkeys(maps)),
        tuple(dict.fromkeys(secrets)),
        tuple(dict.fromkeys(pull)),
        _password(pod_spec, container, environment(container, {}) if variables is None else variables)
        if container
        else None,
    )


def _password(pod_spec: Manifest, container: Manifest, variables: Mapping[str, Optional[str]]) -> Optional[Manifest]:
    given = {str(one.get("name")): one for one in container.get("env") or ()}
    for name, users in PASSWORDS.items():
        known = [variables[one] for one in users if one in variables]
        user = known[0] if known else _SUPERUSER  # None: it is in a Secret, which is not read
        reference = ((given.get(name) or {}).get("valueFrom") or {}).get("secretKeyRef")
        if reference:
            return {"secret": reference.get("name"), "key": reference.get("key"), "variable": name, "user": user}
        path = (given.get(f"{name}_FILE") or {}).get("value")
        found = _file(str(path), pod_spec, container) if path else None
        if found:
            return {"secret": found[0], "key": found[1], "variable": f"{name}_FILE", "user": user}
    return None


def _file(path: str, pod_spec: Manifest, container: Manifest) -> Optional[tuple[str, str]]:
    """The Secret and its key that a file is."""
    volumes = {one["name"]: one for one in pod_spec.get("volumes") or ()}
    mount = mount_of(_normal(path), mounts(pod_spec, container, {}))
    sources = [volumes.get(mount.volume) or {}] if mount else []
    sources += (sources[0].get("projected") or {}).get("sources") or () if sources else []
    for source in sources:
        secret = source.get("secret")
        if mount and secret:
            inside = path_in_volume(_normal(path), mount)
            items = {item.get("path"): item.get("key") for item in secret.get("items") or ()}
            return str(secret.get("secretName") or secret.get("name")), str(items.get(inside, inside))
    return None


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (``matchLabels``, ``matchExpressions``) selects these labels. An empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for one in selector.get("matchExpressions") or ():
        key, operator, values = one.get("key"), one.get("operator"), one.get("values") or ()
        value = labels.get(key)
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(operator, True):
            return False
    return True


def primary(pods: Sequence[Manifest], address: Optional[str] = None) -> tuple[Optional[str], Optional[str]]:
    """The pod of the primary, and who says so: ``labels``, ``server`` (which has this address, and is no standby), ``only``; None, None: nobody."""
    if address:
        for pod in pods:
            addresses = [one.get("ip") for one in (pod.get("status") or {}).get("podIPs") or ()]
            if address in addresses or address == (pod.get("status") or {}).get("podIP"):
                return meta(pod)["name"], "server"
    labelled = [
        meta(pod)["name"]
        for pod in pods
        if any((meta(pod).get("labels") or {}).get(key) in values for key, values in _PRIMARY_LABELS.items())
    ]
    if len(labelled) == 1:
        return labelled[0], "labels"
    if len(pods) == 1:
        return meta(pods[0])["name"], "only"
    return None, None


def services(found: Iterable[Manifest], labels: Mapping[str, str], governing: str = "") -> Manifests:
    """Services that lead to pods with these labels; the one to connect to first: one address, PostgreSQL's port, named most narrowly."""
    mine = []
    for one in found:
        spec = spec_of(one)
        selector = spec.get("selector") or {}
        if not selector or not selects({"matchLabels": selector}, labels):
            continue
        ports = [port.get("port") for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
        name, namespace = meta(one)["name"], meta(one).get("namespace") or ""
        mine.append(
            {
                "name": name,
                "host": f"{name}.{namespace}.svc",
                "type": spec.get("type") or "ClusterIP",
                "headless": spec.get("clusterIP") == "None",
                "governing": name == governing,
                "ports": ports,
                "selector": dict(selector),
            }
        )
    return sorted(
        mine, key=lambda one: (one["headless"], _PORT not in one["ports"], -len(one["selector"]), one["name"])
    )


def owners(manifest: Manifest) -> dict[str, Any]:
    """Who would take back what is changed in an object: ``gitops`` {tool, name, namespace}, ``helm`` {release, namespace}, ``operator``."""
    labels, notes = meta(manifest).get("labels") or {}, meta(manifest).get("annotations") or {}
    gitops: Optional[dict[str, Any]] = None
    if tracking := notes.get("argocd.argoproj.io/tracking-id"):
        # application:group/Kind:namespace/name; an application of another namespace is namespace_name
        name = tracking.partition(":")[0]
        namespace, _under, short = name.rpartition("_")
        gitops = {"tool": "argocd", "name": short, "namespace": namespace or None}
    elif instance := labels.get("argocd.argoproj.io/instance"):
        gitops = {"tool": "argocd", "name": instance, "namespace": None}
    for tool, prefix in (("flux-kustomize", "kustomize.toolkit.fluxcd.io"), ("flux-helm", "helm.toolkit.fluxcd.io")):
        if labels.get(f"{prefix}/name"):
            gitops = {"tool": tool, "name": labels[f"{prefix}/name"], "namespace": labels.get(f"{prefix}/namespace")}
    helm = None
    if notes.get("meta.helm.sh/release-name"):
        helm = {"release": notes["meta.helm.sh/release-name"], "namespace": notes.get("meta.helm.sh/release-namespace")}
    elif labels.get("app.kubernetes.io/managed-by") == "Helm":
        helm = {
            "release": labels.get("app.kubernetes.io/instance") or labels.get("release"),
            "namespace": meta(manifest).get("namespace"),
        }
    owner = next((one for one in meta(manifest).get("ownerReferences") or () if one.get("controller")), None)
    operator = (
        {"kind": owner.get("kind"), "name": owner.get("name"), "api_version": owner.get("apiVersion")}
        if owner
        else None
    )
    return {"gitops": gitops, "helm": helm, "operator": operator}
