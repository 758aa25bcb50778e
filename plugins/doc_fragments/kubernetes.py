# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that works in a Kubernetes cluster (argspec.KUBERNETES)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubernetes:
    description:
      - How the API of the cluster is reached, by the names that C(kubernetes.core) has for it. What is not given is read from its
        environment (C(K8S_AUTH_KUBECONFIG), C(K8S_AUTH_CONTEXT), C(K8S_AUTH_HOST), C(K8S_AUTH_API_KEY), …), as AWX sets it.
      - Without any of it the service account of the pod is used that the module runs in; outside of one, C(KUBECONFIG) or C(~/.kube/config).
    type: dict
    default: {}
    suboptions:
      kubeconfig:
        description: A kubeconfig on the host where the module runs, by its path, or as a dictionary.
        type: raw
      context:
        description: A context of the kubeconfig. By default its current one.
        type: str
      namespace:
        description:
          - The namespace. By default that of the pod that the module runs in, else that of the kubeconfig's context.
          - Where neither has one the module fails; C(default) is never guessed.
        type: str
      host:
        description: URL of the API server, such as V(https://10.0.0.1:6443).
        type: str
      api_key:
        description: A token, such as a service account's. It takes precedence over what the kubeconfig has.
        type: str
      username:
        description: Name for basic authentication, where something before the API server asks for it.
        type: str
      password:
        description: Password for basic authentication.
        type: str
      validate_certs:
        description: Whether the certificate of the API server is verified.
        type: bool
        aliases: [verify_ssl]
      ca_cert:
        description: File with the certificate authority of the API server (not of PostgreSQL).
        type: path
        aliases: [ssl_ca_cert]
      client_cert:
        description: File with a client certificate.
        type: path
        aliases: [cert_file]
      client_key:
        description: File with its key.
        type: path
        aliases: [key_file]
      proxy:
        description: URL of an HTTP proxy.
        type: str
      no_proxy:
        description: Hosts and domains that are reached without it, separated by commas.
        type: str
      proxy_headers:
        description: Headers for the proxy.
        type: dict
        suboptions:
          proxy_basic_auth:
            description: C(user:password) for the proxy.
            type: str
          basic_auth:
            description: C(user:password) for basic authentication.
            type: str
          user_agent:
            description: User agent.
            type: str
      persist_config:
        description: Whether a refreshed token is written into the kubeconfig.
        type: bool
      impersonate_user:
        description: Act as this user.
        type: str
      impersonate_groups:
        description: Act as a member of these groups.
        type: list
        elements: str
requirements:
  - the collection C(kubernetes.core) 5.3 or newer, on the controller
  - kubernetes 24.2 or newer, and older than 37 (from PyPI), where the module runs
"""
