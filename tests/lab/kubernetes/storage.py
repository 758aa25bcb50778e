# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes and snapshots: labcsi on a btrfs in a file, Kubernetes' own sidecars, and the faults that tests ask for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .parts import KUBERNETES, SNAPSHOTS
from .settings import CSI_DRIVER, NODE, VOLUMES

if TYPE_CHECKING:
    from .running import Starter

_FILE = VOLUMES.with_name(VOLUMES.name + ".btrfs")
_SIZE = 16 << 30  # bytes, of a sparse file


def mount() -> None:
    """The file system of all volumes, empty."""
    VOLUMES.mkdir(parents=True, exist_ok=True)
    if VOLUMES.is_mount():
        return
    with _FILE.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkfs.btrfs", "--quiet", "--force", str(_FILE)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop,user_subvol_rm_allowed,noatime", str(_FILE), str(VOLUMES)], check=True)


def unmount() -> None:
    if VOLUMES.is_mount():
        subprocess.run(["umount", "--lazy", str(VOLUMES)], check=False)
    _FILE.unlink(missing_ok=True)
    if VOLUMES.is_dir() and not VOLUMES.is_mount():
        VOLUMES.rmdir()


def start(starter: Starter, kubeconfig: str) -> None:
    mount()
    starter.programs.start(
        "labcsi", str(KUBERNETES.path / "labcsi"), "-kubelet", str(starter.directory / "kubelet"), "-name", CSI_DRIVER,
        "-node", NODE, "-data", str(VOLUMES),
    )  # fmt: skip
    starter.apply((SNAPSHOTS.path / "snapshot-crds.yaml").read_text())
    starter.apply(starter.template("csi.yaml", CSI_DRIVER=CSI_DRIVER))
    socket = starter.directory / "kubelet/plugins" / CSI_DRIVER / "csi.sock"
    starter.wait("CSI driver's socket", 30, socket.exists)
    common = (f"--kubeconfig={kubeconfig}", "--leader-election=false")
    retries = ("--retry-interval-start=500ms", "--retry-interval-max=2s")
    driver = (f"--csi-address={socket}", "--extra-create-metadata")
    _sidecar(starter, "snapshot-controller", *common, *retries)
    _sidecar(starter, "csi-snapshotter", *common, *driver, *retries)
    _sidecar(starter, "csi-provisioner", *common, *driver, *retries, "--default-fstype=btrfs")


def _sidecar(starter: Starter, name: str, *arguments: str) -> None:
    starter.programs.start(name, str(SNAPSHOTS.path / name), *arguments)


@contextmanager
def fault(call: str, what: str, namespace: str = "", volumes: Path = VOLUMES) -> Iterator[None]:
    """While it lasts a CSI call answers otherwise, healed at its end.

    call       CreateSnapshot, CreateVolume, DeleteSnapshot, NodePublishVolume, … as CSI names them
    what       "fail MESSAGE", "sleep SECONDS", or "notready" (CreateSnapshot: made, and not ready to use)
    namespace  only for claims and snapshots of this one
    """
    file = volumes / "faults" / (f"{call}@{namespace}" if namespace else call)
    file.write_text(what)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def small(directory: Path, namespace: str, claim: str, size: int) -> Iterator[list[dict[str, Any]]]:
    """A claim of so many bytes that can be full, which a directory of a large file system cannot: what to apply for it, the volume and the claim.

    directory  the cluster's own, where its end finds the mount
    """
    place = directory / "small" / namespace
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(place)], check=True)
    common = {"capacity": {"storage": str(size)}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    by = {"hostPath": {"path": str(place)}, "claimRef": {"namespace": namespace, "name": claim}}
    wanted = {**common, "volumeName": namespace, "resources": {"requests": {"storage": str(size)}}}
    wanted.pop("capacity")
    try:
        yield [
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": {**common, **by}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}, "spec": wanted},
        ]
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)
        place.rmdir()
