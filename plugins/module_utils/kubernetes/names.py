# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and labels of what we make in a cluster, within Kubernetes' limits. Pure.

Sources: RFC 1123 labels, 63 characters (kubernetes.io, "Object Names and IDs"); a CronJob's name has at most 52, as its Jobs get 11 more
("CronJob" there); the name of a Job becomes a label of its pods, which get 6 more in their names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

PREFIX = "holdfast.postgres/"
#: what is ours, of whatever kind
MANAGED_BY = {"app.kubernetes.io/managed-by": "holdfast", "app.kubernetes.io/name": "holdfast-postgres"}
#: labels: which server it works for, which task (the ``name`` that was given), which schedule, which Deployment
SERVER, TASK, SCHEDULE, DEPLOYMENT = f"{PREFIX}server", f"{PREFIX}task", f"{PREFIX}schedule", f"{PREFIX}deployment"
#: annotations: the server's name as it is, what was asked for (a digest), that it is still being made, that it has a Role
SERVER_NAME, DIGEST = f"{PREFIX}server-name", f"{PREFIX}digest"
PREPARING, RULES = f"{PREFIX}preparing", f"{PREFIX}rules"
#: annotations of a StatefulSet: what a recovery in its volume (k8s_recover), and what a restore of snapshots in place (pvc_snapshot), did last, and
#: until it is confirmed or rolled back keeps the old data by; RECOVERY is a label of the Jobs too
RECOVERY, SWAP = f"{PREFIX}recovery", f"{PREFIX}swap"

LONGEST_CRON_JOB = 52
_DIGEST = 10
#: so that "-" and the digest fit into a label
LONGEST_TASK = 63 - 1 - _DIGEST
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# A digest of secrets must not be a quick way to try passwords: each guess costs this many rounds (PBKDF2, SHA-256).
_ROUNDS = 60_000


def check_name(option: str, name: str, longest: int) -> str:
    """The name of an object. Raises BadOption: the API server would refuse it, or one that is made of it."""
    if not _NAME.fullmatch(name):
        raise BadOption(
            option,
            name,
            "is no name of an object in Kubernetes",
            "Use small letters, digits and '-', a letter or digit first and last.",
        )
    if len(name) > longest:
        raise BadOption(
            option,
            name,
            f"has {len(name)} characters, and {longest} are allowed",
            "Kubernetes appends to it what tells the runs apart.",
        )
    return name


def label(text: str) -> str:
    """A text as a label's value: itself where it can be, else as much as can be with a digest that tells it from others."""
    if _LABEL.fullmatch(text):
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    plain = re.sub(r"[^-A-Za-z0-9_.]", "-", text)[: 62 - _DIGEST].strip("-_.")
    return f"{plain}-{mark}" if plain else mark


def labels(server_name: str, **more: str) -> dict[str, str]:
    """The labels of what is ours; ``more``: ``task``, ``schedule`` and ``deployment``."""
    own = {"task": TASK, "schedule": SCHEDULE, "deployment": DEPLOYMENT}
    return {**MANAGED_BY, SERVER: label(server_name), **{own[key]: label(value) for key, value in more.items()}}


def digest(salt: str, content: Mapping[str, Any]) -> str:
    """What tells one request from another, as ten hexadecimal digits. ``salt``: where it is asked for, and under which name."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), _ROUNDS).hex()[:_DIGEST]


def job_name(task: str, mark: str) -> str:
    """The name of the Job of a task, whose request has the digest ``mark``."""
    return f"{task}-{mark}"
