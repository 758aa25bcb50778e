# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes on this machine for the tests: no registry, no engine of containers but Debian's containerd, nothing of it pretended.

settings.py      versions, addresses, where things are
parts.py         what is built from the Go module proxy and from Debian's and PyPI's packages: once, in a cache outside the checkout
build/           the scripts that build, and the Go sources of what is ours: DNS, and a CSI driver with snapshots and faults
oci.py images.py images without an engine of containers
certificates.py network.py processes.py node.py storage.py   what a cluster consists of
cluster.py       Cluster: up, down, and whose it is
cloudnative_pg.py  its operator, on top of a cluster that runs; barman_plugin.py  its plugin for object stores
api.py           what tests do with a cluster, by the official client: apply, wait, exec, logs
__main__.py      the same by hand: python -m lab.kubernetes prepare|up|down|status

All of the cluster lives in a network namespace of its own, which this machine reaches through a veth; the machine's firewall stays as it is.
"""
