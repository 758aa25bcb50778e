# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a cluster's programs, level by level, and waiting for each to answer. What runs already is left alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import certificates, cloudnative_pg, images, network, storage
from .parts import ETCD, KUBERNETES
from .processes import Programs
from .settings import (
    HERE,
    IMAGE_STORE,
    LEVELS,
    NETWORK_NAMESPACE,
    NODE,
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
)


class DidNotStart(Exception):
    """A program of the cluster does not answer; the message has the ends of all logs."""


class Starter:
    """Starts one cluster in a directory. `say` is told of each step."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.directory = directory
        self.programs = Programs(directory)
        self._say = say
        self._keys = directory / "pki"

    def start(self, level: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        network.make()
        if not self._keys.exists():
            certificates.make(self._keys, self.directory)
        up_to = LEVELS.index(level)
        self._api()
        if up_to >= LEVELS.index("node"):
            self._containerd()  # takes its time beside the API server
        self.wait("API server", 120, lambda: self.kubectl("get", "--raw", "/readyz"))
        if up_to >= LEVELS.index("ctl"):
            self._controllers()
        if up_to >= LEVELS.index("node"):
            self._node()
        if up_to >= LEVELS.index("ctl"):
            self.wait("controllers", 60, lambda: self.kubectl("get", "serviceaccount", "default"))
        if up_to >= LEVELS.index("csi"):
            storage.start(self, str(self.directory / "addons.conf"))
        if up_to >= LEVELS.index("node"):
            self.wait(
                "node ready",
                120,
                lambda: self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s"),
            )
        if up_to >= LEVELS.index("csi"):
            drivers = ("get", "csinode", NODE, "-o", "jsonpath={.spec.drivers[*].name}")
            self.wait("CSI driver", 60, lambda: self.kubectl(*drivers))
        if up_to >= LEVELS.index("cnpg"):
            self.operator()

    def operator(self) -> None:
        """CloudNativePG's, on top of what runs."""
        cloudnative_pg.start(self, images.Containerd(self.directory / "containerd/socket"))

    def wait(self, what: str, seconds: float, answers: Callable[[], object]) -> None:
        """Until something true is answered. DidNotStart after so many seconds, or as soon as a program has ended."""
        deadline = time.monotonic() + seconds
        while not answers():
            ended = self.programs.ended()
            if ended or time.monotonic() > deadline:
                why = f"{', '.join(ended)} ended" if ended else f"not within {seconds:.0f} s"
                raise DidNotStart(f"{what}: {why}.\n{self.programs.words()}")
            time.sleep(0.1)
        self._say(what)

    def apply(self, text: str) -> None:
        """Manifests as admin; the output goes into the error."""
        done = self._run("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)
        if done.returncode:
            raise DidNotStart(f"kubectl apply: {done.stderr.strip()}")

    def template(self, name: str, **values: str) -> str:
        """A file of templates/ with its @NAMES@ filled in."""
        text = (HERE / "templates" / name).read_text()
        known = {
            "CLUSTER": str(self.directory),
            "PKI": str(self._keys),
            "IMAGES": str(IMAGE_STORE),
            "NETWORK": NETWORK_NAMESPACE,
            "PODS": POD_NETWORK,
            "NODE_ADDRESS": NODE_ADDRESS,
        }
        for key, value in {**known, **values}.items():
            text = text.replace(f"@{key}@", value)
        return text

    def kubeconfig(self, user: str) -> str:
        return str(self.directory / f"{user}.conf")

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What it prints; '' when it fails. ``text``: its standard input."""
        done = self._run(*arguments, text=text)
        return "" if done.returncode else done.stdout.strip()

    def _run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            str(KUBERNETES.path / "kubectl"),
            "--kubeconfig",
            self.kubeconfig("admin"),
            "--request-timeout=20s",
            *arguments,
        ]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def _program(self, name: str, *arguments: str, called: str = "") -> None:
        self.programs.start(called or name, str(KUBERNETES.path / name), *arguments)

    def _as(self, user: str) -> list[str]:
        path = self.kubeconfig(user)
        return [f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}"]

    def _api(self) -> None:
        client, peer, keys = "http://127.0.0.1:2379", "http://127.0.0.1:2380", self._keys
        self.programs.start(
            "etcd", str(ETCD.path / "etcd"), "--data-dir", str(self.directory / "etcd"),
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--log-level", "warn",
        )  # fmt: skip
        self._program(
            "kube-apiserver", f"--etcd-servers={client}", "--bind-address=0.0.0.0", f"--advertise-address={NODE_ADDRESS}",
            "--secure-port=6443", f"--tls-cert-file={keys}/apiserver.crt", f"--tls-private-key-file={keys}/apiserver.key",
            f"--client-ca-file={keys}/ca.crt", f"--kubelet-certificate-authority={keys}/ca.crt",
            f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt", f"--kubelet-client-key={keys}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP", f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={keys}/sa.key",
            f"--service-account-signing-key-file={keys}/sa.key", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        )  # fmt: skip

    def _controllers(self) -> None:
        keys = self._keys
        self._program(
            "kube-controller-manager", *self._as("controller-manager"), f"--service-account-private-key-file={keys}/sa.key",
            f"--root-ca-file={keys}/ca.crt", "--use-service-account-credentials=true", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--cluster-signing-cert-file={keys}/ca.crt", f"--cluster-signing-key-file={keys}/ca.key",
            "--allocate-node-cidrs=false", "--concurrent-statefulset-syncs=2",
        )  # fmt: skip
        self._program("kube-scheduler", *self._as("scheduler"), "--leader-elect=false", "--bind-address=127.0.0.1")

    def _containerd(self) -> None:
        home = self.directory / "containerd"
        (home / "cni").mkdir(parents=True, exist_ok=True)
        _write(home / "cni/10-lab.conflist", self.template("cni.conflist"))
        _write(home / "config.toml", self.template("containerd.toml"))
        fresh = not self.programs.running("containerd")
        self.programs.start("containerd", "containerd", "--config", str(home / "config.toml"))
        containerd = images.Containerd(home / "socket")
        self.wait("containerd", 60, lambda: _answers(containerd))
        if fresh:
            containerd.clear()
        containerd.load(images.base())
        self._say("images")

    def _node(self) -> None:
        _write(self.directory / "kubelet.yaml", self.template("kubelet.yaml"))
        _write(self.directory / "proxy.yaml", self.template("proxy.yaml"))
        self._program("kube-proxy", f"--config={self.directory}/proxy.yaml", f"--hostname-override={NODE}")
        self._program(
            "kubelet", f"--config={self.directory}/kubelet.yaml", f"--kubeconfig={self.kubeconfig('kubelet')}",
            f"--root-dir={self.directory}/kubelet", f"--cert-dir={self.directory}/kubelet-pki", f"--node-ip={NODE_ADDRESS}",
            f"--hostname-override={NODE}",
        )  # fmt: skip
        self._program("labdns", f"--kubeconfig={self.kubeconfig('addons')}", f"--listen={NODE_ADDRESS}:53")


def _answers(containerd: images.Containerd) -> bool:
    try:
        containerd.call("version", timeout=10)
    except (RuntimeError, subprocess.TimeoutExpired):
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Only when it changes: kube-proxy ends when its file does."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
