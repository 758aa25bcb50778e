# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions, addresses and directories of the lab's cluster."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]

VERSIONS = {
    "K8S_VERSION": "1.36.3",
    "ETCD_VERSION": "3.6.16",
    "SNAPSHOTTER_VERSION": "8.6.0",
    "PROVISIONER_VERSION": "5.3.0",
    "CSI_VERSION": "1.12.0",  # of the specification
    "DNS_VERSION": "1.1.68",  # of github.com/miekg/dns
    "CNPG_VERSION": "1.30.0",
    "BARMAN_PLUGIN_VERSION": "0.14.0",
}
POSTGRESQL = 15  # Debian 12's

#: api: etcd, API server · ctl: controllers, scheduler · node: containerd, kubelet, kube-proxy, DNS · csi: volumes and snapshots ·
#: cnpg: CloudNativePG's operator
LEVELS = ("api", "ctl", "node", "csi", "cnpg")
USUAL = "csi"

NODE = "lab"
NETWORK_NAMESPACE = "holdfast-k8s"
VETH = "hfk8s"
HOST_ADDRESS, NODE_ADDRESS = "10.250.0.1", "10.250.0.2"  # the veth's two ends
POD_NETWORK, SERVICE_NETWORK, API_SERVICE = "10.244.0.0/24", "10.96.0.0/16", "10.96.0.1"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
CSI_DRIVER = "hostpath.lab"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-k8s"
PARTS = CACHE / "parts"
IMAGE_STORE = CACHE / "containerd"  # containerd's, which outlives the cluster
#: Short, as paths of sockets may have 107 bytes.
CLUSTER = CACHE / "cluster"
VOLUMES = CACHE / "volumes"
#: Whose cluster runs: of the machine, as the addresses are.
STATE = Path("/run/holdfast-k8s.json")
LOCK = Path("/run/holdfast-k8s.lock")
