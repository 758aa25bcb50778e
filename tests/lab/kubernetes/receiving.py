# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL of a StatefulSet's server, received by a Deployment and shipped: set up by the playbook `archive`, as people run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of

from ..playbooks import CHECKOUT, PlaybookResult, run_playbook
from ..stores import S3Server
from .api import Namespace
from .postgres import Postgres

NAME = "holdfast-receive-shop"
PLAYBOOKS = CHECKOUT / "playbooks"


def rules() -> list[dict[str, Any]]:
    """What the table gives whoever runs the role."""
    rights = rights_of("deployment", deployments=[NAME]), rights_of("job", claims=["wal"])
    return [rule.manifest() for one in rights for rule in one.rules]


def bucket(store: S3Server, namespace: Namespace) -> dict[str, Any]:
    return {
        "type": "s3",
        "bucket": store.make_bucket(namespace.name),
        "region": store.region,
        "endpoint_url": store.endpoint_url,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
    }


def variables(server: Postgres, kubeconfig: Path, image: str, repository: dict[str, Any]) -> dict[str, Any]:
    return {
        "holdfast_kubernetes": {"kubeconfig": str(kubeconfig), "namespace": server.namespace.name},
        "holdfast_archive_manager": "kubernetes",
        "holdfast_archive_pod": {
            "image": image,
            "image_pull_policy": "IfNotPresent",
            "claims": {"wal": "/wal"},
            "variables_from": [{"variable": "holdfast_login_password", "secret": server.name, "key": "password"}],
        },
        "holdfast_login_host": server.service,
        "holdfast_login_user": "postgres",
        "holdfast_wal_directory": "/wal",
        "holdfast_repository": repository,
    }


def archive(given: Mapping[str, Any], *arguments: str, **more: Any) -> PlaybookResult:
    """The playbook, as people run it."""
    asked = {**given, **{f"holdfast_archive_{name}": value for name, value in more.items()}}
    return run_playbook(PLAYBOOKS / "archive.yml", asked, *arguments, inventory="shop,")


def steps(run: PlaybookResult) -> list[str]:
    """What was, or would be, made, changed and deleted of the Deployment."""
    assert run.returncode == 0, run.stdout + run.stderr
    return [step for result in run.of("holdfast.postgres.k8s_deployment") for step in result.get("plan", [])]
