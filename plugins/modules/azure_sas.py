#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: azure_sas
short_description: Keep a SAS token of an Azure container fresh
version_added: 0.1.0
description:
  - Looks at the token in a file, or in a Secret of a Kubernetes namespace, and when it expires soon, or lacks a permission, makes a new one,
    tests it by writing, reading and deleting a small object, and puts it in its place. The former one stays beside it.
  - In a Secret that takes the verbs get and patch on it, and create on secrets where it is not there yet.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.store
  - holdfast.postgres.kubernetes
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: File of the token, of mode 0600. O(repository.sas_token_file) elsewhere names the same.
    type: path
  secret:
    description:
      - A key of a Secret in the namespace of O(kubernetes), instead of a file. Runs that mount it (O(holdfast.postgres.k8s_cron_job#module:secrets))
        have the new token from their next start on.
    type: dict
    suboptions:
      name:
        description: Name of the Secret. One that is not there is made.
        type: str
        required: true
      key:
        description: The key in it; the former token is kept as the key of this name and C(.former).
        type: str
        default: sas-token
  permissions:
    description: What the token allows.
    type: str
    default: rwdlc
  valid_for:
    description:
      - How long a new token is valid. One that an identity signs, and not the account's key, V(7d) at most; say then
        O(renew_before=3d) too.
    type: str
    default: 90d
  renew_before:
    description: A token that expires within this is replaced.
    type: str
    default: 30d
seealso:
  - module: holdfast.postgres.backup_check
"""

EXAMPLES = r"""
- name: A token for the backups, replaced a month before it expires
  holdfast.postgres.azure_sas:
    repository:
      type: azure
      account: backups
      container: postgres
      account_key: "{{ vault_account_key }}"
    path: /etc/holdfast/sas_token

- name: The same, for the runs in a cluster
  holdfast.postgres.azure_sas:
    repository:
      type: azure
      account: backups
      container: postgres
      account_key: "{{ vault_account_key }}"
    kubernetes:
      namespace: database
    secret:
      name: postgresql-backup-azure-secret
"""

RETURN = r"""
expires_at:
  description: When the token in the file expires; in check mode the one that is there.
  returned: always
  type: str
former_expires_at:
  description: When the one that was replaced expires. Until then it is valid, unless the account's key is changed.
  returned: when one was replaced
  type: str
former_path:
  description: Where the one that was replaced is now, a file or a key of the Secret.
  returned: when one was replaced
  type: str
plan:
  description: What is done, or in check mode would be done.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import KUBERNETES
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.secret_key import SecretKey
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.bucket import (
    check_validity,
    make_sas,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.client import (
    account_of,
    make_client,
    sas,
    sas_expiry,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import check_store, open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.preflight import probe
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


def read_token(path: str) -> Optional[str]:
    """The token in the file; None when there is none. Raises BadOption."""
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise BadOption(
            "path", path, f"cannot be read ({exc})", "Name a file with a SAS token, or one that is not there."
        ) from exc


def install(path: str, token: str) -> None:
    """Put the token in the file's place, durably, of mode 0600. Raises RepositoryError."""
    try:
        former = files.read(path, 64 * 1024)
    except FileNotFoundError:
        former = b""
    except OSError as exc:
        raise RepositoryError(
            f"The former token in {path} cannot be kept beside the new one: {exc.strerror}. It is as it was."
        ) from exc
    if former:
        files.put(f"{path}.former", former)
    files.put(path, token + "\n")


@dataclass(frozen=True)
class TokenFile:
    """A token in a file."""

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def former(self) -> str:
        """Where the one before is kept."""
        return f"{self.path}.former"

    def read(self) -> Optional[str]:
        """The token; None when there is none. Raises BadOption."""
        return read_token(self.path)

    def write(self, token: str, dry_run: bool = False) -> None:
        """Raises RepositoryError."""
        if not dry_run:
            install(self.path, token)


def place_of(module: AnsibleModule) -> Union[TokenFile, SecretKey]:
    """Where the token is."""
    secret = module.params["secret"]
    if not secret:
        return TokenFile(module.params["path"])
    return SecretKey(Cluster(access(module)), secret["name"], secret["key"])


def refused(options: Mapping[str, Any], permissions: str) -> str:
    """What the store has against a token; empty where it takes it: a date says nothing of a key that was changed since.

    Raises:
        RepositoryError: the store cannot be asked.
    """
    store = open_repository(options)
    try:
        if "l" in permissions:
            store.check(write=False)
        elif "r" in permissions:
            store.stat("_probe/none")
    except RepositoryError as exc:
        if any(
            code in str(exc) for code in ("AuthenticationFailed", "AuthorizationFailure", "InvalidAuthenticationInfo")
        ):
            return "AuthenticationFailed: the key that signed it was changed, most likely"
        raise
    return ""


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look at the token, and unless in check mode replace one that is due."""
    params = module.params
    options = dict(check_store(params["repository"]))
    if options["type"] != "azure":
        raise BadOption("repository.type", options["type"], "has no SAS tokens", "They are Azure's.")
    valid, before = (parse_duration(params[name], name) for name in ("valid_for", "renew_before"))
    check_validity(options, params["valid_for"], valid)
    if valid <= before:
        raise BadOption(
            "valid_for", params["valid_for"], "is not longer than renew_before", "A token would be due at once."
        )
    now, place, plan = utcnow(), place_of(module), list[str]()
    token = place.read()
    expiry = sas_expiry({"sas_token": token}) if token else None
    lacking = set(params["permissions"]) - set(sas({"sas_token": token}).get("sp", ""))
    if token is None:
        plan.append(f"make a token in {place}")
    elif lacking or expiry is None or (expiry - now).total_seconds() < before:
        why = (
            f"lacks {', '.join(sorted(lacking))}"
            if lacking
            else f"expires at {format_time(expiry) if expiry else 'no known time'}"
        )
        plan.append(f"replace the token in {place}, which {why}")
    # A connection string says where the account is, which need not be Azure's public cloud.
    service = options["endpoint_url"] or make_client(options, 1).url.partition("?")[0].rpartition("/")[0]
    secret = ("account_key", "connection_string", "client_id", "sas_token_file")
    where = {"account": account_of(options), "endpoint_url": service}
    tried = {**options, **dict.fromkeys(secret), **where}
    if token and not plan and (said := refused({**tried, "sas_token": token}, params["permissions"])):
        plan.append(f"replace the token in {place}, which the store does not take ({said})")
    shown = format_time(expiry) if expiry else None
    result: dict[str, Any] = {"changed": bool(plan), "plan": plan, "expires_at": shown}
    if module.check_mode and plan:
        place.write("checked", dry_run=True)
    if module.check_mode or not plan:
        return result
    # A little back, since clocks differ.
    end = now + datetime.timedelta(seconds=valid)
    new = make_sas(options, params["permissions"], now - datetime.timedelta(minutes=15), end)
    tried = {**tried, "sas_token": new}
    if set("rwdlc") <= set(params["permissions"]):
        probe(open_repository(tried))
    else:
        open_repository(tried).check(write=False)
    place.write(new)
    result["expires_at"] = format_time(end)
    if token is not None:
        result.update(former_expires_at=shown, former_path=place.former)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "dict", "required": True, "options": STORE},
            "path": {"type": "path"},
            "secret": {
                "type": "dict",
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "str", "default": "sas-token", "no_log": False},
                },
            },
            **KUBERNETES,
            "permissions": {"type": "str", "default": "rwdlc"},
            "valid_for": {"type": "str", "default": "90d"},
            "renew_before": {"type": "str", "default": "30d"},
        },
        required_one_of=[("path", "secret")],
        mutually_exclusive=[("path", "secret")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
