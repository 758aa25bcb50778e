# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a StatefulSet's only server has its data, and as whom it runs (pure). What cannot be brought back in its own volume is refused here."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

#: the directory in the volume in which a recovery lays out, and keeps the old data
HIDDEN = ".holdfast"
#: paths that a run of ours has of its own (``kubernetes/pod.py``)
_OURS = ("/tmp", "/var/tmp", "/home/holdfast", "/etc/holdfast")


@dataclass(frozen=True)
class Place:
    """``data``: PGDATA; ``mount``: where the volume is mounted; ``sub_path``: of the volume (empty: all of it). ``user``, ``group``,
    ``fs_group``: numeric, as the pod says (None: it does not). ``superusers``: who may be one in the server, the likeliest first."""

    stateful_set: str
    namespace: str
    pod: str
    claim: str
    data: str
    mount: str
    sub_path: str
    image: str
    user: Optional[int]
    group: Optional[int]
    fs_group: Optional[int]
    superusers: tuple[str, ...]
    container: Mapping[str, Any] = field(default_factory=dict, compare=False)
    template: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def folder(self) -> str:
        """The directory that PGDATA lies in."""
        return posixpath.dirname(self.data)

    @property
    def name(self) -> str:
        return posixpath.basename(self.data)

    def hidden(self, beside: bool) -> str:
        """The directory for what is hidden: at the volume's top, or where that is not the server's to write into, in PGDATA."""
        return posixpath.join(self.mount if beside else self.data, HIDDEN)

    def in_volume(self, path: str) -> str:
        """A path below the mount as a ``subPath`` of the claim."""
        return "/".join(filter(None, (self.sub_path, path[len(self.mount) :].strip("/"))))


def place_of(
    stateful_set: Manifest,
    config_maps: Mapping[str, Manifest],
    container: str,
    login_user: Optional[str],
    ordinal: Optional[int] = None,
) -> Place:
    """``ordinal``: of one of several pods; None: of the only one. Raises BadOption, KubernetesError: it cannot be told, or not be done in its own volume."""
    name, namespace = meta(stateful_set)["name"], meta(stateful_set)["namespace"]
    called = f"The StatefulSet {namespace}/{name}"
    template = spec_of(spec_of(stateful_set).get("template") or {})
    server = discover.server_container(template, container)
    if server is None:
        names = ", ".join(str(one.get("name")) for one in discover.containers(template))
        raise BadOption(
            "container", container, f"is none of {namespace}/{name}, or which of its containers runs PostgreSQL cannot be told",
            f"Name one: {names}.",
        )  # fmt: skip
    if ordinal is None:
        _refuse_several(stateful_set, called)
    _refuse_deletion(stateful_set, called)
    variables = discover.environment(server, config_maps)
    data, _who = discover.data_directory(server, variables)
    if data is None:
        raise KubernetesError(
            f"{called} does not say where its data is: neither its environment (PGDATA) nor its arguments (-D) nor its image. Nothing was done. Set "
            "PGDATA in its container's env."
        )
    if ordinal is None:
        ordinal = int((spec_of(stateful_set).get("ordinals") or {}).get("start") or 0)
    mounts = discover.mounts(template, server, discover.claims_of(stateful_set, ordinal))
    mount = discover.mount_of(data, mounts)
    if mount is None or mount.claim is None:
        where = (
            "is on no volume of its own"
            if mount is None
            else f"is on {mount.volume}, which is no claim ({mount.source})"
        )
        raise KubernetesError(
            f"{called} has its data in {data}, which {where}: what would be restored there goes with the pod. Nothing was done."
        )
    if posixpath.dirname(data) == "/" or data in _OURS or posixpath.dirname(data) in _OURS:
        raise KubernetesError(
            f"{called} has its data in {data}. A recovery in its own volume mounts the directory above that in a pod of its own, which cannot be "
            f"{posixpath.dirname(data)}. Nothing was done. Restore it into another StatefulSet, or set PGDATA to a directory below the volume."
        )
    other = [one.path for one in mounts if one.path != mount.path and discover.below(one.path, data)]
    if other:
        raise KubernetesError(
            f"{called} has something else mounted inside its data directory ({', '.join(sorted(other))}): that cannot be exchanged with it. Nothing "
            "was done."
        )
    user, group, fs_group = _ids(template, server)
    if user == 0:
        user = None  # it starts as root, and becomes whose the data is
    named = [login_user, variables.get("POSTGRES_USER"), variables.get("POSTGRESQL_USERNAME"), "postgres"]
    return Place(
        name,
        namespace,
        f"{name}-{ordinal}",
        mount.claim,
        data,
        mount.path,
        mount.sub_path,
        str(server.get("image") or ""),
        user,
        group,
        fs_group,
        tuple(dict.fromkeys(one for one in named if one)),
        server,
        template,
    )


def _refuse_several(stateful_set: Manifest, called: str) -> None:
    count = spec_of(stateful_set).get("replicas")
    if count is not None and int(count) > 1:
        raise KubernetesError(
            f"{called} has {count} pods. A recovery in its own volume is for a server that is one pod: the others would go on with data of another "
            "history. Nothing was done. Scale it to 1, recover, empty the claims of the others, and scale it up again: each makes itself a copy then."
        )


def _refuse_deletion(stateful_set: Manifest, called: str) -> None:
    retention = spec_of(stateful_set).get("persistentVolumeClaimRetentionPolicy") or {}
    if retention.get("whenScaled") == "Delete":
        raise KubernetesError(
            f"{called} has persistentVolumeClaimRetentionPolicy.whenScaled: Delete: scaled to 0, its claim and the data on it are deleted. Nothing was "
            'done. Set it to Retain first: kubectl patch statefulset NAME -p \'{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain"}}}\''
        )


def _ids(template: Manifest, server: Manifest) -> tuple[Optional[int], Optional[int], Optional[int]]:
    """As whom the container runs. What the container says takes precedence over the pod."""
    of_pod, own = template.get("securityContext") or {}, server.get("securityContext") or {}
    user, group = (own.get(key, of_pod.get(key)) for key in ("runAsUser", "runAsGroup"))
    return user, group, of_pod.get("fsGroup")
