# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a playbook that runs to its end in a pod, besides those of the pod (k8s_pod)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  playbook:
    description: The playbook that is run, by its full name, or as a path in the image or in a claim.
    type: str
    default: holdfast.postgres.backup
  deadline:
    description: How long a run may take, from its start on, pending time included. Then it is ended, and has failed.
    type: str
    default: 6h
  restart_evicted:
    description:
      - Whether a run whose pod was evicted, drained or preempted is begun anew. By default V(true) for the playbooks audit, backup, check,
        copy, prune, rotate_credentials and status, and V(false) for what changes a server.
    type: bool
"""
