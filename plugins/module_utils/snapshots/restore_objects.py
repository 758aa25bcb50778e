# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore of snapshots makes: claims of them, and the Job that makes a data directory ready for its first start (pure).

Sources: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#volume-snapshot-and-restore-volume-from-snapshot-support (a request
below the snapshot's size stays Pending for ever); https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
("Backing Up The Data Directory": what is not to be in a copy).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import MANAGED_BY, PREFIX

RESTORED_FROM, PREPARED, SERVED = (f"{PREFIX}{name}" for name in ("restored-from", "prepared", "served"))
_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+)(e[0-9]+|[kMGTPE]i?|Ki|m|)", re.I)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50, "ei": 2**60}
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

# As whoever the server runs as; root, where the image starts as root, leaves the files to whose the directory is. What a server that died, or a
# replica, leaves is no part of a backup; backup_label is of this backup or of none.
SCRIPT = r"""
set -eu
cd "$PGDATA"
test -f PG_VERSION && test -f global/pg_control || { echo "there is no data directory at $PGDATA" > /dev/termination-log; exit 3; }
if [ -n "$BACKUP_LABEL" ]; then test ! -L pg_wal || test -d pg_wal/.; fi
rm -f postmaster.pid postmaster.opts standby.signal recovery.signal backup_label tablespace_map
for d in pg_replslot pg_dynshmem pg_notify pg_serial pg_snapshots pg_stat_tmp pg_subtrans; do
    if [ -d "$d" ]; then find "$d" -mindepth 1 -delete; fi
done
find base pg_tblspc/ -depth -name 'pgsql_tmp*' -exec rm -rf {} + 2>/dev/null || true
if [ -n "$BACKUP_LABEL" ]; then printf '%s' "$BACKUP_LABEL" > backup_label; fi
if [ -n "$TABLESPACE_MAP" ]; then printf '%s' "$TABLESPACE_MAP" > tablespace_map; fi
if [ -n "$SETTINGS" ]; then printf '\n%s' "$SETTINGS" >> postgresql.auto.conf; fi
if [ -n "$RECOVERY" ]; then : > recovery.signal; fi
if [ "$(id -u)" = 0 ]; then
    for f in backup_label tablespace_map postgresql.auto.conf recovery.signal; do
        if [ -e "$f" ]; then chown "$(stat -c %u:%g PG_VERSION)" "$f"; fi
    done
fi
chmod 0700 .
sync
if command -v pg_controldata > /dev/null; then
    LC_ALL=C pg_controldata . | sed -n 's/^Database system identifier: */system_id=/p; s/^Database cluster state: */state=/p' > /dev/termination-log
fi
"""


def bytes_of(quantity: Optional[str]) -> int:
    """A quantity of the API in bytes; 0: there is none. Raises ValueError."""
    if not quantity:
        return 0
    found = _QUANTITY.fullmatch(quantity)
    if not found:
        raise ValueError(quantity)
    number, unit = Decimal(found[1]), found[2]
    if unit == "m":  # thousandths
        return math.ceil(number / 1000)
    if unit[:1] in ("e", "E") and unit[1:].isdigit():
        return int(number * 10 ** int(unit[1:]))
    return int(number * {**_FACTORS, **_BINARY}[unit.lower()])


def size_of(claim: Mapping[str, Any], snapshot: Mapping[str, Any], wanted: Optional[str]) -> str:
    """What a claim of a snapshot has to request: at least what the driver says (``restoreSize``), and where it says nothing, what the source
    had. Raises BadOption: less is wanted."""
    least = max(
        (str(one) for one in (snapshot.get("restore_size"), claim.get("capacity"), claim.get("request")) if one),
        key=bytes_of,
        default="",
    )
    if not bytes_of(least):
        raise CatalogError(f"How large the claim {claim['name']} was is not known: say size.")
    if wanted is None:
        return least
    needed = str(snapshot["restore_size"]) if bytes_of(snapshot.get("restore_size")) else least
    try:
        enough = bytes_of(wanted) >= bytes_of(needed)
    except ValueError as exc:
        raise BadOption("size", wanted, "is no quantity", "Write it as 20Gi.") from exc
    if not enough:
        raise BadOption(
            "size",
            wanted,
            f"is less than the snapshot of {claim['name']} has ({needed})",
            "The claim would stay Pending for ever.",
        )
    return wanted


def claim(
    name: str,
    namespace: str,
    source: Mapping[str, Any],
    snapshot: Mapping[str, Any],
    size: str,
    storage_class: Optional[str],
    backup_id: str,
) -> Manifest:
    """A claim of a snapshot, like its source."""
    spec: Manifest = {
        "accessModes": list(source["access_modes"]),
        "volumeMode": source["volume_mode"],
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot["name"]},
        "resources": {"requests": {"storage": size}},
    }
    if storage_class:
        spec["storageClassName"] = storage_class
    # Labels of the source would put it into the selectors of whoever counts or deletes the server's claims: ours alone.
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(MANAGED_BY),
            "annotations": {RESTORED_FROM: f"{backup_id}/{snapshot['name']}"},
        },
        "spec": spec,
    }


def described(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What a pod needs to have the new claims (``names``, by the former ones) where the server had its own. ``claims``: paths by name; null where a
    volume's folder is mounted somewhere that does not end as it is called (subPath), so that no mount of the whole volume is the same."""
    pod, data = content["pod"], content.get("data") or {}
    claims: Optional[dict[str, str]] = {}
    for one in pod.get("mounts") or ():
        path, inside = str(one["path"]).rstrip("/"), str(one.get("sub_path") or "").strip("/")
        if one["claim"] not in names or claims is None:
            continue
        if inside and not path.endswith(f"/{inside}"):
            claims = None
            continue
        claims[names[one["claim"]]] = path[: -len(inside) - 1] if inside else path
    return {
        "claims": claims,
        "data_directory": data.get("directory"),
        "run_as_user": pod.get("run_as_user"),
        "fs_group": pod.get("fs_group"),
    }


def settings_text(settings: Mapping[str, Any]) -> str:
    """Lines for postgresql.auto.conf. Raises BadOption."""
    lines = []
    for name, value in settings.items():
        text = str(value)
        if not _SETTING.fullmatch(str(name)):
            raise BadOption("settings", name, "is no name of a setting", "Write name: value.")
        if "\n" in text or "\0" in text:
            raise BadOption("settings", name, "has a value of several lines", "A setting has one.")
        lines.append(f"{name} = '{text.replace(chr(92), chr(92) * 2).replace(chr(39), chr(39) * 2)}'\n")
    return "".join(lines)


def job(
    name: str,
    namespace: str,
    image: str,
    content: Mapping[str, Any],
    names: Mapping[str, str],
    label: str,
    tablespace_map: str,
    settings: str,
    recovery: bool,
    deadline: int,
    pull_secrets: Sequence[str] = (),
) -> Manifest:
    """The Job that makes the data directory ready. ``content``: of snapshots.json; ``names``: the new claims, by the former ones."""
    pod, data = content["pod"], content["data"]
    user, group, fs_group = pod.get("run_as_user"), pod.get("run_as_group"), pod.get("fs_group")
    of_pod: Manifest = {key: value for key, value in (("runAsUser", user), ("runAsGroup", group)) if value is not None}
    if fs_group is not None:
        of_pod.update({"fsGroup": fs_group, "fsGroupChangePolicy": "OnRootMismatch"})
    if user:
        of_pod.update({"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}})
    used = [one for one in pod["mounts"] if one["claim"] in names]
    volumes = {new: f"volume-{number}" for number, new in enumerate(dict.fromkeys(names.values()))}
    mounts = [
        {
            "name": volumes[names[one["claim"]]],
            "mountPath": one["path"],
            **({"subPath": one["sub_path"]} if one["sub_path"] else {}),
        }
        for one in used
    ]
    values = {
        "PGDATA": str(data["directory"]),
        "BACKUP_LABEL": label,
        "TABLESPACE_MAP": tablespace_map,
        "SETTINGS": settings,
        "RECOVERY": "yes" if recovery else "",
    }
    container: Manifest = {
        "name": "prepare",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": key, "value": value} for key, value in values.items()],
        "volumeMounts": mounts,
    }
    if user:
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": of_pod,
        "containers": [container],
        "volumes": [{"name": volume, "persistentVolumeClaim": {"claimName": new}} for new, volume in volumes.items()],
    }
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": one} for one in pull_secrets]
    # Nothing but some drivers ties a new volume to where the snapshot can be read.
    terms = next((one["node_affinity"] for one in content["claims"] if one.get("node_affinity")), None)
    if terms and terms.get("required"):
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms["required"]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline,
            "template": {"metadata": {"labels": dict(MANAGED_BY)}, "spec": spec},
        },
    }
