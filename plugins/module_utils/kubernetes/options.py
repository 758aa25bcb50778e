# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in a cluster, as the modules' options describe it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import FromSecret, Nfs, RunRequest

# What of a run's variables is secret, by its name.
_SECRET = re.compile(r"(?i)pass|secret|token|key|credential|connection_string|sas|conninfo|dsn")
_SHORTEST = 4  # characters of what is hidden in results: hiding less would hide half of every message


def request(params: Mapping[str, Any], namespace: str, node: Optional[str] = None) -> RunRequest:
    """``params`` of a Deployment have no playbook and no deadline of their own. Raises BadOption."""
    restart = params.get("restart_evicted")
    return RunRequest(
        namespace=namespace,
        image=params["image"] or "",
        playbook=params.get("playbook", ""),
        server_name=str(params["variables"].get("holdfast_server_name") or params["server_name"]),
        variables=params["variables"],
        variables_from=[FromSecret(one["variable"], one["secret"], one["key"]) for one in params["variables_from"]],
        claims=_texts(params, "claims"),
        nfs=[Nfs(one["server"], one["export"], one["path"]) for one in params["nfs"]],
        read_only=params["read_only"],
        check=bool(params.get("check")),
        secrets=_texts(params, "secrets"),
        service_account=params.get("service_account"),
        token=bool(params.get("api_access")),
        node=node,
        resources=params["resources"],
        deadline=parse_duration(params.get("deadline", "6h"), "deadline"),
        again=params.get("playbook") in pod.AGAIN if restart is None else restart,
        user=params["run_as_user"],
        group=None if params["fs_group"] < 0 else params["fs_group"],
        pull_policy=params["image_pull_policy"],
        pull_secrets=params["image_pull_secrets"],
    )


def _texts(params: Mapping[str, Any], option: str) -> dict[str, str]:
    for name, path in params[option].items():
        if not isinstance(path, str):
            raise BadOption(option, {name: path}, "is no name with a path", "Write name: /path.")
    return dict(params[option])


def show_what_is_no_secret(params: Mapping[str, Any], hidden: set[str]) -> None:
    """Variables are hidden as a whole where options are shown. In results, all their values would be: a host's name, a number. ``hidden``:
    the module's ``no_log_values``, which becomes smaller."""
    shown = {str(value) for name, value in _leaves("", params["variables"]) if not _SECRET.search(name)}
    secret = {str(value) for name, value in _leaves("", params["variables"]) if _SECRET.search(name)}
    hidden -= shown - secret
    hidden -= {value for value in hidden if len(value) < _SHORTEST}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each value with the name that is nearest to it."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(str(key), below)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _leaves(name, below)
    else:
        yield name, value
