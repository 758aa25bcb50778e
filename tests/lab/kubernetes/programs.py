# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of this machine that a cluster runs on, and Debian's packages of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

RUNS_ON = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables", "nft": "nftables", "mkfs.btrfs": "btrfs-progs", "btrfs": "btrfs-progs", "conntrack": "conntrack",
    "ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps",
}  # fmt: skip
BUILT_BY = {"jq": "jq", "dpkg-deb": "dpkg"}


def lacking(programs: dict[str, str]) -> list[str]:
    """The packages of those that are not here."""
    return sorted({package for name, package in programs.items() if not (shutil.which(name) or Path(name).exists())})


def install() -> None:
    """By apt-get what is not here, where that can be; what is missing afterwards is told by who needs it."""
    wanted = lacking({**RUNS_ON, **BUILT_BY})
    if not wanted or not shutil.which("apt-get"):
        return
    print(f"Installing {' '.join(wanted)} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["-y", "install", "--no-install-recommends", *wanted]):
        subprocess.run(["apt-get", "-qq", *command], env=environment, check=False, stdout=subprocess.DEVNULL)
