# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that running playbooks in a cluster needs, as rules of a Role: nothing beyond them, names wherever a verb takes them (pure).
docs/kubernetes.md has the same table, and tests/kubernetes runs each module under exactly these."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import Rule

_BATCH, _RBAC = "batch", "rbac.authorization.k8s.io"
#: of a pod that is followed: its state, its log, and why it does not start
_FOLLOW = (Rule("pods", ("list",)), Rule("pods/log", ("get",)), Rule("events", ("list",)))
_NAMED = ("get", "patch", "delete")

#: what the pod of a backup, prune, check, copy, audit or verification needs of the API
IN_THE_POD: tuple[Rule, ...] = ()


def job(claims: Sequence[str] = ()) -> list[Rule]:
    """Of k8s_job. The names of Jobs are made of what is asked for, so that no rule can name them; of Secrets it reads none."""
    rules = [Rule("jobs", ("create", "get", "list", "patch", "delete"), _BATCH), Rule("secrets", ("create",)), *_FOLLOW]
    return [*rules, Rule("persistentvolumeclaims", ("get",), names=tuple(claims))] if claims else rules


def run_by_hand(schedule: str) -> list[Rule]:
    """Of k8s_job with from_cron_job."""
    return [
        Rule("cronjobs", ("get",), _BATCH, (schedule,)),
        Rule("jobs", ("create", "get", "list"), _BATCH),
        *_FOLLOW,
    ]


def cron_job(names: Sequence[str], rules: bool = False) -> list[Rule]:
    """Of k8s_cron_job, for schedules of these names (former ones too). ``rules``: the schedule has a Role; nobody can give rights that he does
    not have himself."""
    named = tuple(names)
    kinds = [("cronjobs", _BATCH), ("secrets", ""), ("serviceaccounts", "")]
    kinds += [("roles", _RBAC), ("rolebindings", _RBAC)] if rules else []
    found = [Rule("cronjobs", ("list",), _BATCH)]
    for resource, group in kinds:
        found += [Rule(resource, ("create",), group), Rule(resource, _NAMED, group, named)]
    return found


def status() -> list[Rule]:
    """Of backup_facts and backup_status with kubernetes."""
    return [Rule("cronjobs", ("list",), _BATCH), Rule("jobs", ("list",), _BATCH), Rule("pods", ("list",))]


def rotation(secret: str) -> list[Rule]:
    """Of azure_sas with secret; the Secret is there."""
    return [Rule("secrets", ("get", "patch"), "", (secret,))]
