# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network namespace that holds a cluster, and the veth by which this machine reaches it."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from .settings import HOST_ADDRESS, NETWORK_NAMESPACE, NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK, VETH

NAMESPACE = Path("/run/netns") / NETWORK_NAMESPACE
ENTER = ("nsenter", f"--net={NAMESPACE}", "--")
#: Where the CNI library notes the namespaces that it connected, by the name of the network.
CNI_RESULTS = Path("/var/lib/cni/results")


def make() -> None:
    if NAMESPACE.exists():
        return
    _ip("netns", "add", NETWORK_NAMESPACE)
    _ip("link", "add", VETH, "type", "veth", "peer", "name", "eth0", "netns", NETWORK_NAMESPACE)
    _ip("addr", "add", f"{HOST_ADDRESS}/30", "dev", VETH)
    _ip("link", "set", VETH, "up")
    for arguments in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{NODE_ADDRESS}/30", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("route", "add", "default", "via", HOST_ADDRESS),
    ):
        subprocess.run([*ENTER, "ip", *arguments], check=True)
    subprocess.run([*ENTER, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    subprocess.run([*ENTER, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.bridge.bridge-nf-call-iptables=1"],
                   check=False, stderr=subprocess.DEVNULL)  # fmt: skip
    for network in (POD_NETWORK, SERVICE_NETWORK):
        _ip("route", "replace", network, "via", NODE_ADDRESS)


def processes() -> list[int]:
    """Those that run in the cluster's namespace; pods have namespaces of their own."""
    if not NAMESPACE.exists():
        return []
    wanted = NAMESPACE.stat()
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):  # ended meanwhile
            there = path.stat()
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(int(path.parts[2]))
    return [pid for pid in found if pid != os.getpid()]


def remove() -> None:
    """The namespace, the veth, and the namespaces of pods that are left."""
    for path in CNI_RESULTS.glob("*"):
        with suppress(OSError, ValueError):
            noted = json.loads(path.read_text())
            if not _is_ours(noted):
                continue
            for interface in (noted.get("result") or {}).get("interfaces") or []:
                pod = Path(interface.get("sandbox") or "")
                if pod.name.startswith("cni-"):
                    subprocess.run(["ip", "netns", "del", pod.name], check=False, stderr=subprocess.DEVNULL)
            path.unlink()
    subprocess.run(["ip", "link", "del", VETH], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "netns", "del", NETWORK_NAMESPACE], check=False, stderr=subprocess.DEVNULL)


def _is_ours(noted: dict[str, Any]) -> bool:
    """Of a pod that was being made when all was killed only the loopback is noted: by a name that all clusters have, and our DNS."""
    dns = ((noted.get("capabilityArgs") or {}).get("dns") or {}).get("Servers") or []
    return noted.get("networkName") == NETWORK_NAMESPACE or NODE_ADDRESS in dns


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
