# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and whose it is: made, joined, ended; also when a run before was killed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import barman_plugin, cloudnative_pg, images, network, parts, processes, programs, storage
from .parts import KUBERNETES
from .running import Starter
from .settings import CHECKOUT, CLUSTER, HOST_ADDRESS, LEVELS, LOCK, STATE, USUAL


class Taken(Exception):
    """Another checkout, or another run, has the cluster of this machine; the message says which, and what to do."""


@dataclass(frozen=True)
class Owner:
    """Whose cluster runs here, as STATE says it."""

    checkout: str
    directory: str
    level: str
    pid: int  # the run that ends it; 0: kept until somebody says down
    started: str

    @property
    def alive(self) -> bool:
        if not self.pid:
            return network.NAMESPACE.exists()  # not after a reboot
        return processes.started(self.pid) == self.started != ""


def missing(level: str = USUAL) -> str | None:
    """Why a cluster cannot be had here, in one line; None when it can."""
    if os.geteuid() != 0:
        return "a cluster of one's own wants root (or name one by HOLDFAST_KUBECONFIG)"
    lacking = programs.lacking(programs.RUNS_ON)
    if lacking:
        return f"not installed: {', '.join(lacking)} (Debian: apt-get install {' '.join(lacking)})"
    unbuilt = [part.name for part in parts.unbuilt(level)]
    if unbuilt:
        return f"not built: {', '.join(unbuilt)} (make test-kubernetes builds what can be built here, and says what cannot)"
    if owner() is None and _other_kubelet():
        return "another kubelet runs here, and two of them take each other's pods for left-overs: name its cluster by HOLDFAST_KUBECONFIG"
    if not network.NAMESPACE.exists():
        tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"no network namespaces here: {tried.stderr.strip()}"
    return None


def _other_kubelet() -> bool:
    """Pods have control groups below kubepods (kubepods.slice with systemd), whoever's they are; here, where the lab's cluster does not run."""
    for group in (*Path("/sys/fs/cgroup").glob("kubepods*"), *Path("/sys/fs/cgroup").glob("*/kubepods*")):
        with suppress(OSError):
            if any(path.read_text().strip() for path in group.rglob("cgroup.procs")):
                return True
    return False


@contextmanager
def machine() -> Iterator[None]:
    """One at a time starts or ends a cluster on this machine."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def owner() -> Owner | None:
    """Whose cluster runs, or was left."""
    try:
        return Owner(**json.loads(STATE.read_text()))
    except FileNotFoundError:
        return None


class Cluster:
    """The lab's running cluster."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "admin.conf"
        self.kubectl = KUBERNETES.path / "kubectl"
        self.host_address = HOST_ADDRESS
        self.containerd = images.Containerd(directory / "containerd/socket")

    @classmethod
    def up(cls, level: str = USUAL, pid: int = 0, say: Callable[[str], None] = lambda step: None) -> Cluster:
        """Start what is not running, for a run (its process id) or, with 0, until `down`. Taken: it is another's."""
        with machine():
            found = owner()
            if found and not found.alive:
                say("an earlier run left a cluster: cleaning up")
                _remove(Path(found.directory))
                found = None
            if found and found.checkout != str(CHECKOUT):
                raise Taken(
                    f"a cluster of the checkout {found.checkout} runs on this machine"
                    f" ({'run ' + str(found.pid) if found.pid else 'kept'}). Wait for its end, end it there by python -m lab.kubernetes down,"
                    f" or use it on purpose: HOLDFAST_KUBECONFIG={found.directory}/admin.conf"
                )
            if found and found.pid and pid != found.pid:
                raise Taken(f"another run of this checkout ({found.pid}) has the cluster: wait for its end.")
            if not found:
                _remove(CLUSTER)  # no state is told of, and things may be left nevertheless
                found = Owner(str(CHECKOUT), str(CLUSTER), level, pid, processes.started(pid) if pid else "")
            # Before anything is made, so that whatever is made is found.
            _tell(replace(found, level=max(level, found.level, key=LEVELS.index)))
            parts.touch(level)
            Starter(CLUSTER, say).start(level)
            return cls(CLUSTER)

    @classmethod
    def of(cls, kubeconfig: Path) -> Cluster | None:
        """The lab's cluster that a kubeconfig belongs to; None: it is another's."""
        found = owner()
        return (
            cls(Path(found.directory))
            if found and kubeconfig.resolve() == Path(found.directory, "admin.conf").resolve()
            else None
        )

    def load_holdfast(self) -> str:
        """The collection's own image with what this checkout has now; its reference."""
        with machine():
            made = images.holdfast(self.directory)
            self.containerd.load(made)
        return made[-1].reference

    def start_operator(self) -> None:
        """CloudNativePG's, on top of what runs, where it does not run yet: also in a cluster that is another checkout's."""
        with machine():
            Starter(self.directory, lambda step: None).operator()

    def start_barman_plugin(self) -> None:
        """CloudNativePG's plugin for object stores, on top of its operator."""
        with machine():
            barman_plugin.start(Starter(self.directory, lambda step: None), self.containerd)

    def load_barman(self) -> str:
        """PostgreSQL with barman-cloud, for Clusters that archive into a store; its reference."""
        with machine():
            self.containerd.load([cloudnative_pg.barman()])
        return cloudnative_pg.BARMAN

    @contextmanager
    def without(self, program: str) -> Iterator[None]:
        """While it lasts a program of the cluster (kube-apiserver, kubelet, csi-snapshotter, …) is killed; at its end it is back and answers.

        All of the cluster has it so: only for tests that no others run beside.
        """
        found = owner()
        starter = Starter(self.directory, lambda step: None)
        pid = starter.programs.pid(program)
        assert found and pid, f"{program} does not run"
        processes.kill([pid])
        try:
            yield
        finally:
            starter.start(found.level)

    def fault(self, call: str, what: str, namespace: str = "") -> AbstractContextManager[None]:
        return storage.fault(call, what, namespace)


def down(pid: int | None = None) -> bool:
    """End the cluster and all that is left of it. With a process id only when it is that run's. False: there was nothing to end."""
    with machine():
        found = owner()
        if pid is not None and (not found or found.pid != pid):
            return False
        there = found is not None or network.NAMESPACE.exists()
        _remove(Path(found.directory) if found else CLUSTER)
        return there


def _tell(state: Owner) -> None:
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(asdict(state)))
    new.rename(STATE)


def _remove(directory: Path) -> None:
    """Processes, containers, mounts, network, files; in the order in which nothing starts again what was ended."""
    socket = str(directory / "containerd/socket")
    shims = processes.with_argument(socket)
    containerd = [pid for pid in [processes.Programs(directory).pid("containerd")] if pid]
    pods = processes.family([pid for pid in shims if pid not in containerd])
    processes.kill([pid for pid in network.processes() if pid not in containerd and pid not in pods])
    processes.kill(pid for pid in pods if pid not in shims)
    if containerd:
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            images.Containerd(Path(socket)).remove_containers()
    processes.kill(pid for pid in processes.with_argument(socket) if pid not in containerd)
    processes.end(containerd)
    processes.kill(network.processes())
    for point in _mounts(directory):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    storage.unmount()
    network.remove()
    for group in Path("/sys/fs/cgroup").glob("*/kubepods"):
        _remove_groups(group)
    left = _mounts(directory)
    if left:
        raise RuntimeError(f"still mounted, so {directory} is left: {', '.join(left)}")
    _delete(directory)
    STATE.unlink(missing_ok=True)


def _mounts(directory: Path) -> list[str]:
    """Mount points below a directory, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(
        (point for point in (line.split()[4] for line in lines) if point.startswith(f"{directory}/")), reverse=True
    )


def _remove_groups(group: Path) -> None:
    """Only those without processes can be removed: another kubelet's stay."""
    for path in sorted(
        (path for path in group.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True
    ):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        group.rmdir()


def _delete(directory: Path) -> None:
    for _attempt in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)
    print(f"{directory} cannot be deleted whole", file=sys.stderr)
