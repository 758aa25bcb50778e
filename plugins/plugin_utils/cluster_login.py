# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run in a cluster reaches a server there: what was said takes precedence over what k8s_server_info found. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import is_given, structure

HOST, PORT, USER, PASSWORD = (f"holdfast_login_{name}" for name in ("host", "port", "user", "password"))
_PORT = 5432


def cluster_login(info: Mapping[str, Any], said: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    """``info``: what k8s_server_info returned; ``said``: variables of the play, empty ones too; ``pod``: the role's dictionary of the run's pod.

    Returns ``variables`` (host, port and user), ``variables_from`` (of the pod, with the password's Secret and key), and ``problems``, sentences.
    """
    given = {name: value for name, value in said.items() if is_given(value)}
    service: Mapping[str, Any] = (info.get("services") or [{}])[0]
    secret: Mapping[str, Any] = info.get("password") or {}
    from_secrets = list(pod.get("variables_from") or [])
    named = {str(one.get("variable")): one for one in from_secrets}
    problems = []
    variables: dict[str, Any] = {}
    if HOST not in named:
        variables[HOST] = given.get(HOST) or service.get("host")
        if not variables[HOST]:
            problems.append(f"No Service leads to the server: name its address by {HOST}.")
    ports = service.get("ports") or []
    if PORT not in named:
        # The default of a host that was named is PostgreSQL's own.
        variables[PORT] = given.get(PORT) or (None if HOST in given or _PORT in ports or not ports else ports[0])
    # Of another role the password that was found is none.
    own = USER not in given and USER not in named or given.get(USER) == secret.get("user")
    if USER not in named:
        variables[USER] = given.get(USER) or secret.get("user")
        if not variables[USER]:
            problems.append(f"Which role is to be used nobody says: name it by {USER}.")
    connection = structure(given.get("holdfast_connect_params")) or {}
    if PASSWORD not in given and PASSWORD not in named and not {"passfile", "sslkey", "password"} & set(connection):
        if secret and own:
            from_secrets.append({"variable": PASSWORD, "secret": secret["secret"], "key": secret["key"]})
        else:
            whose = "" if own else f" of {given.get(USER, 'that role')}"
            problems.append(
                f"The password{whose} is in no Secret that the server's container has it from: give {PASSWORD}, or name the Secret and its key in "
                "variables_from of the pod."
            )
    hidden = [str(one.get("what")) for one in info.get("not_read") or []]
    if problems and hidden:
        problems.append(f"What may not be read here: {', '.join(hidden)}.")
    known = {name: value for name, value in variables.items() if value is not None}
    return {"variables": known, "variables_from": from_secrets, "problems": problems}
