# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second CSI driver in the lab's cluster, whose snapshots are no atomic ones: labcsi on a plain folder copies files one after the other."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.waiting import wait_until

from . import network, processes
from .parts import KUBERNETES, SNAPSHOTS
from .settings import NODE

if TYPE_CHECKING:
    from .api import Api

DRIVER = "copies.lab"
_KINDS = (
    ("storage.k8s.io/v1", "CSIDriver", {"spec": {"attachRequired": False, "fsGroupPolicy": "File"}}),
    ("storage.k8s.io/v1", "StorageClass", {"provisioner": DRIVER, "reclaimPolicy": "Delete"}),
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", {"driver": DRIVER, "deletionPolicy": "Delete"}),
)


@contextmanager
def copying(api: Api, directory: Path) -> Iterator[str]:
    """While it lasts, a storage class (and a snapshot class of its name) of such a driver. ``directory``: the cluster's.

    What was made of it has to be deleted before the end, as nobody could delete it afterwards.
    """
    data = tempfile.mkdtemp(prefix="holdfast-copies-")
    socket = directory / "kubelet/plugins" / DRIVER / "csi.sock"
    kubeconfig = f"--kubeconfig={directory / 'addons.conf'}"
    common = (kubeconfig, "--leader-election=false", f"--csi-address={socket}", "--extra-create-metadata")
    retries = ("--retry-interval-start=500ms", "--retry-interval-max=2s")
    driver = ("-kubelet", str(directory / "kubelet"), "-name", DRIVER, "-node", NODE, "-data", data)
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (Path(data) / f"{Path(command[0]).name}.log").open("ab") as log:
            running.append(
                subprocess.Popen(
                    [*network.ENTER, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                )
            )  # fmt: skip

    try:
        for version, kind, body in _KINDS:
            api.kind(version, kind).server_side_apply(
                body={"apiVersion": version, "kind": kind, "metadata": {"name": DRIVER}, **body},
                name=DRIVER, field_manager="tests", force_conflicts=True,
            )  # fmt: skip
        start(str(KUBERNETES.path / "labcsi"), *driver)
        wait_until(socket.exists, 30)
        start(str(SNAPSHOTS.path / "csi-snapshotter"), *common, *retries)
        start(str(SNAPSHOTS.path / "csi-provisioner"), *common, *retries)
        node = api.kind("storage.k8s.io/v1", "CSINode")
        wait_until(
            lambda: DRIVER in [one["name"] for one in node.get(name=NODE).to_dict()["spec"].get("drivers") or ()],
            60,
        )
        yield DRIVER
        volumes = api.kind("v1", "PersistentVolume")
        wait_until(
            lambda: (
                not [one for one in volumes.get().to_dict()["items"] if one["spec"].get("storageClassName") == DRIVER]
            ),
            90,
        )
    finally:
        processes.end([one.pid for one in running])
        for one in running:
            one.wait()
        for version, kind, _body in _KINDS:
            api.kind(version, kind).delete(name=DRIVER)
        (directory / "kubelet/plugins_registry" / f"{DRIVER}-reg.sock").unlink(missing_ok=True)
        shutil.rmtree(data, ignore_errors=True)
