# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way into a cluster. This is the only file that imports kubernetes.core and the client ``kubernetes``, and only when a cluster is
asked for something: whoever has none never needs them.

kubernetes.core makes the connection: kubeconfig, in-cluster, proxies, impersonation, and its variables of the environment.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import SERVICE_ACCOUNT, Access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    KubernetesError,
    Request,
    explain,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Kind
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.transport import chain, explain_no_answer

#: seconds until kubernetes.core has a connection, with whatever program a kubeconfig runs for its token
_PATIENCE = 60.0
_TOKEN = ("BearerToken", "authorization")
_API = Kind("the API", "v1", "version", False)
_MISSING = (
    "To reach a Kubernetes cluster {what} is needed, and is not there ({error}). Collections come with the controller: ansible-galaxy collection "
    "install 'kubernetes.core:>=5.3.0,<8.0.0'. The library belongs to the Python that this module runs by ({python}): pip install "
    "'kubernetes>=24.2,<37'."
)


def log_in(access: Access) -> Any:
    """An ``ApiClient`` of the library. In a thread of its own: a kubeconfig's program can wait for somebody who is not there.

    Raises:
        KubernetesError: no way in; Unreachable where time can mend it.
        BadOption: a kubeconfig or context that is not there.
    """
    kubernetes, get_api_client = _libraries()
    _look_at(access)
    # The library remembers the last kubeconfig for the whole process, and would add its certificates to whatever is given explicitly.
    kubernetes.client.Configuration.set_default(None)
    work = Background(lambda: get_api_client(**dict(access.auth)))
    work.wait(_PATIENCE)
    server = str(access.value("host") or "of the kubeconfig")
    if not work.done():
        raise KubernetesError(
            f"No connection to the API server {server} was made within {_PATIENCE:.0f} seconds: it does not answer, or the program that the "
            "kubeconfig runs for a token waits for somebody. Nothing was done."
        )
    try:
        made = work.result()
    except Exception as exc:
        raise _no_login(exc, access, Request("reach", _API, server=server)) from exc
    configuration = made.configuration
    configuration.retries = 0  # they are the client's
    token = access.value("api_key")
    if token:
        # The library would go on with the kubeconfig's own token or certificate: what is given explicitly takes precedence.
        configuration.refresh_api_key_hook = None
        configuration.api_key = {"authorization": f"Bearer {token}"}
        if not access.value("client_cert"):
            configuration.cert_file = configuration.key_file = None
    _by_both_names(configuration)
    api = kubernetes.client.ApiClient(configuration)
    api.default_headers.update(made.client.client.default_headers)
    return api


def _by_both_names(configuration: Any) -> None:
    """The token, by the name that the library had for it before its version 36, and by the one since: some versions write it by one and
    read it by the other, and then it is silently not sent."""
    refresh = configuration.refresh_api_key_hook

    def share(made: Any) -> None:
        token = next((made.api_key[name] for name in _TOKEN if made.api_key.get(name)), None)
        if token:
            configuration.api_key.update(dict.fromkeys(_TOKEN, token))

    def refreshed(_configuration: Any) -> None:
        made = types.SimpleNamespace(api_key={})
        refresh(made)
        share(made)

    share(configuration)
    if refresh is not None:
        configuration.refresh_api_key_hook = refreshed


def explained(exc: Exception, request: Request) -> HoldfastError:
    """An exception of a request, as a message."""
    if isinstance(exc, HoldfastError):
        return exc
    # ApiException, by whatever name its version has for it: with a status there was an answer.
    status, body = getattr(exc, "status", None), getattr(exc, "body", None)
    if isinstance(status, int) and status:
        return explain(status, body.decode("utf-8", "replace") if isinstance(body, bytes) else body, request)
    return explain_no_answer(exc, request)


def default_namespace(access: Access) -> Optional[str]:
    """That of the kubeconfig's context where one is used, else the pod's own; None where nobody says."""
    if access.by_itself:
        return None
    config = access.value("kubeconfig")
    if not config and not access.value("context"):
        try:
            with open(f"{SERVICE_ACCOUNT}/namespace", encoding="ascii") as stream:
                if os.environ.get("KUBERNETES_SERVICE_HOST"):
                    return stream.read().strip() or None
        except OSError:
            pass
    context = _context(access)
    return (context.get("context") or {}).get("namespace") or None


def _libraries() -> tuple[Any, Any]:
    what = "the Python package kubernetes"
    try:
        import kubernetes

        what = "the collection kubernetes.core"
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    except ImportError as exc:
        raise KubernetesError(_MISSING.format(what=what, error=exc, python=sys.executable)) from exc
    return kubernetes, get_api_client


def _paths(access: Access) -> list[str]:
    given = access.value("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [os.path.expanduser(path) for path in str(given).split(os.pathsep) if path]


def _look_at(access: Access) -> None:
    """What the library has no message of its own for."""
    given = access.value("kubeconfig")
    if isinstance(given, str) and not access.by_itself:
        missing = [path for path in _paths(access) if not os.path.exists(path)]
        if missing == _paths(access):
            raise BadOption(
                "kubernetes.kubeconfig",
                given,
                "is not there, on the host where this module runs",
                "Give its path there, or run the module where it is (delegate_to: localhost).",
            )


def _context(access: Access) -> dict[str, Any]:
    """The context that is used; empty where there is none."""
    contexts, active = _contexts(access)
    wanted = access.value("context")
    if wanted:
        return next((one for one in contexts if one.get("name") == wanted), {})
    return active


def _contexts(access: Access) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    kubernetes, _get_api_client = _libraries()
    config = access.value("kubeconfig")
    if isinstance(config, dict):
        contexts = list(config.get("contexts") or ())
        return contexts, next((one for one in contexts if one.get("name") == config.get("current-context")), {})
    try:
        contexts, active = kubernetes.config.list_kube_config_contexts(os.pathsep.join(_paths(access)))
    except Exception:  # who logs in says what is wrong with it
        return [], {}
    return [_plain(one) for one in contexts], _plain(active)


def _plain(node: Any) -> dict[str, Any]:
    return dict(getattr(node, "value", node) or {})


def _no_login(exc: Exception, access: Access, request: Request) -> HoldfastError:
    """Why there is no connection."""
    found = list(chain(exc))
    if not any(
        type(one).__name__ == "ConfigException" or type(one).__module__.startswith(("yaml", "binascii"))
        for one in found
    ):
        return explained(exc, request)
    message = " ".join(str(exc).split())
    config, context = access.value("kubeconfig"), access.value("context")
    where = "the kubeconfig that was given" if isinstance(config, dict) else " and ".join(_paths(access))
    names = [str(one.get("name")) for one in _contexts(access)[0]]
    if context and context not in names:
        return BadOption(
            "kubernetes.context", context, f"is no context of {where}", f"It has: {', '.join(names) or 'none'}."
        )
    if not config and not any(os.path.exists(path) for path in _paths(access)):
        return KubernetesError(
            f"No way into a Kubernetes cluster is known: this is no pod with a service account's token, and there is no {where}. Give kubernetes.kubeconfig "
            "(K8S_AUTH_KUBECONFIG), or kubernetes.host with kubernetes.api_key; in a pod: automountServiceAccountToken: true."
        )
    return KubernetesError(f"The kubeconfig {where} cannot be used: {message}.")
