# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option ``kubernetes``: how a cluster is reached, by the names that kubernetes.core has for it, and the namespace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

#: where a pod reads which namespace it is in
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

# By these alone a cluster is reached, with a host: nothing else is looked at then. As kubernetes.core has it.
_ENOUGH = (("username", "password"), ("api_key",), ("client_cert", "client_key"))
# Its other names in the environment.
_ALSO = {"client_cert": "CERT_FILE", "client_key": "KEY_FILE", "ca_cert": "SSL_CA_CERT", "validate_certs": "VERIFY_SSL"}


class Module(Protocol):
    """What is needed of an AnsibleModule."""

    params: Mapping[str, Any]
    no_log_values: set[str]


@dataclass(frozen=True)
class Access:
    """``auth``: what was given of kubernetes.core's options; ``namespace``: what was given; by default the pod's or the context's."""

    auth: Mapping[str, Any] = field(default_factory=dict)
    namespace: Optional[str] = None

    @property
    def given(self) -> bool:
        """Whether anything was said of a cluster."""
        return bool(self.auth or self.namespace)

    def value(self, name: str) -> Any:
        """An option, or else its variable of the environment, as kubernetes.core reads it."""
        given = self.auth.get(name)
        if given is not None:
            return given
        variables = (name.upper(), _ALSO.get(name, name.upper()))
        return next((value for one in variables if (value := os.environ.get(f"K8S_AUTH_{one}"))), None)

    @property
    def by_itself(self) -> bool:
        """Whether host and credentials are given, so that neither a kubeconfig nor a pod's service account is looked at."""
        return bool(self.value("host")) and any(all(self.value(name) for name in names) for names in _ENOUGH)


def access_of(params: Optional[Mapping[str, Any]]) -> Access:
    """From the value of the option ``kubernetes``."""
    given = dict(params or {})
    namespace = given.pop("namespace", None)
    return Access({name: value for name, value in given.items() if value is not None}, namespace or None)


def access(module: Module) -> Access:
    """From a module's option ``kubernetes``. A kubeconfig may be given as a dictionary, which is secret; the path of one is not, and
    messages name it."""
    given = access_of(module.params.get("kubernetes"))
    path = given.auth.get("kubeconfig")
    if isinstance(path, str):
        module.no_log_values.discard(path)
    return given
