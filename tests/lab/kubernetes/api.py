# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests do with a cluster, and look at in it, by the official client: nothing of the collection is imported."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..waiting import wait_until
from .certificates import kubeconfig as write_kubeconfig

Object = dict[str, Any]


@dataclass(frozen=True)
class Executed:
    """What a command in a pod said, and its exit status."""

    status: int
    stdout: str
    stderr: str


class Api:
    """A cluster by one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import client, config, dynamic

        self.kubeconfig = kubeconfig
        self.client = config.new_client_from_config(str(kubeconfig))
        self.core = client.CoreV1Api(self.client)
        self.dynamic = dynamic.DynamicClient(self.client)
        self.removed: set[str] = set()

    def kind(self, api_version: str, kind: str) -> Any:
        return self.dynamic.resources.get(api_version=api_version, kind=kind)

    def wait_for_removed(self) -> None:
        """Until the namespaces that were removed are gone."""
        wait_until(
            lambda: not self.removed & {item.metadata.name for item in self.core.list_namespace().items}, 180, 0.5
        )

    def create_namespace(self) -> Namespace:
        name = f"holdfast-{secrets.token_hex(4)}"
        labels = {"app.kubernetes.io/created-by": "tests-of-holdfast"}
        self.core.create_namespace({"metadata": {"name": name, "labels": labels}})
        made = Namespace(self, name)
        # Pods are refused until it is there.
        wait_until(lambda: made.find("v1", "ServiceAccount", "default"), 30)
        return made


class Namespace:
    """A test's own namespace. Objects go in and come out as dictionaries."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name

    def __str__(self) -> str:
        return self.name

    def apply(self, *objects: Mapping[str, Any]) -> list[Object]:
        """Server-side apply as the field manager "tests"."""
        made = []
        for item in objects:
            resource = self.api.kind(item["apiVersion"], item["kind"])
            answer = resource.server_side_apply(
                body=dict(item),
                name=item["metadata"]["name"],
                namespace=self.name,
                field_manager="tests",
                force_conflicts=True,
            )
            made.append(answer.to_dict())
        return made

    def find(self, api_version: str, kind: str, name: str) -> Object | None:
        from kubernetes.dynamic.exceptions import NotFoundError

        try:
            found: Object = self.api.kind(api_version, kind).get(name=name, namespace=self.name).to_dict()
        except NotFoundError:
            return None
        return found

    def get(self, api_version: str, kind: str, name: str) -> Object:
        found = self.find(api_version, kind, name)
        assert found is not None, f"there is no {kind} {name} in {self.name}"
        return found

    def list(self, api_version: str, kind: str, selector: str = "") -> Sequence[Object]:
        answer = self.api.kind(api_version, kind).get(namespace=self.name, label_selector=selector).to_dict()
        items: Sequence[Object] = answer["items"]
        return items

    def patch(self, api_version: str, kind: str, name: str, change: Mapping[str, Any]) -> Object:
        resource = self.api.kind(api_version, kind)
        patched: Object = resource.patch(
            body=dict(change), name=name, namespace=self.name, content_type="application/merge-patch+json"
        ).to_dict()
        return patched

    def delete(self, api_version: str, kind: str, name: str, grace: int | None = None) -> None:
        """And what it owns. Not waited for; harmless when it is gone."""
        from kubernetes.dynamic.exceptions import NotFoundError

        with suppress(NotFoundError):
            body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
            if grace is not None:
                body["gracePeriodSeconds"] = grace
            self.api.kind(api_version, kind).delete(name=name, namespace=self.name, body=body)

    def wait(
        self, api_version: str, kind: str, name: str, holds: Callable[[Object], Any], timeout: float = 120
    ) -> Object:
        """The object, once something holds of it. When it does not in time, its status and the namespace's events are told."""

        def look() -> Object | None:
            found = self.find(api_version, kind, name)
            return found if found and holds(found) else None

        try:
            answer: Object = wait_until(look, timeout, every=0.2)
        except AssertionError as error:
            status = json.dumps((self.find(api_version, kind, name) or {}).get("status"), indent=1, default=str)
            raise AssertionError(f"{kind} {name}: {error}\n{status}\n{self.told()}") from None
        return answer

    def told(self) -> str:
        """The namespace's events as lines."""
        events = self.list("v1", "Event")
        return "\n".join(f"{e['involvedObject'].get('name')}: {e.get('reason')}: {e.get('message')}" for e in events)

    def execute(self, pod: str, *command: str, stdin: str | None = None, container: str | None = None) -> Executed:
        """A short command in a pod. (Its output may be cut by the connection: nothing large.)"""
        from kubernetes.stream import stream

        options: Object = {"container": container} if container else {}
        socket = stream(
            self.api.core.connect_get_namespaced_pod_exec, pod, self.name, command=list(command),
            stdin=stdin is not None, stdout=True, stderr=True, tty=False, _preload_content=False, **options,
        )  # fmt: skip
        try:
            if stdin is not None:
                socket.write_stdin(stdin)
            socket.run_forever(timeout=120)
            return Executed(socket.returncode, socket.read_stdout(), socket.read_stderr())
        finally:
            socket.close()

    def logs(self, pod: str, container: str | None = None) -> str:
        options = {"container": container} if container else {}
        # The client itself would make "b'…'" of bytes.
        answer = self.api.core.read_namespaced_pod_log(pod, self.name, _preload_content=False, **options)
        return bytes(answer.data).decode()

    def pods_of(self, job: str) -> Sequence[Object]:
        return self.list("v1", "Pod", f"batch.kubernetes.io/job-name={job}")

    def service_account(
        self,
        rules: Sequence[Mapping[str, Any]],
        directory: Path,
        name: str = "",
        cluster_rules: Sequence[Mapping[str, Any]] = (),
        seconds: int = 3600,
    ) -> Path:
        """A new ServiceAccount with exactly these rules of a Role, and its kubeconfig, whose token is good for so many seconds (600 at least)."""
        name = name or f"account-{secrets.token_hex(3)}"
        group = "rbac.authorization.k8s.io"
        metadata, subject = {"name": name}, {"kind": "ServiceAccount", "name": name, "namespace": self.name}
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        for prefix, listed in (("", rules), ("Cluster", cluster_rules)):
            if not listed:
                continue
            called = {"name": f"{self.name}-{name}" if prefix else name}
            role = {
                "apiVersion": f"{group}/v1",
                "kind": f"{prefix}Role",
                "metadata": called,
                "rules": [dict(rule) for rule in listed],
            }
            binding = {
                "apiVersion": f"{group}/v1",
                "kind": f"{prefix}RoleBinding",
                "metadata": called,
                "subjects": [subject],
                "roleRef": {"apiGroup": group, "kind": f"{prefix}Role", "name": called["name"]},
            }
            self.apply(role, binding)
        token = self.api.core.create_namespaced_service_account_token(
            name, self.name, {"spec": {"expirationSeconds": seconds}}
        ).status.token
        settings = self.api.client.configuration
        path = directory / f"{name}.conf"
        authority = Path(settings.ssl_ca_cert).read_bytes()
        write_kubeconfig(path, name, {"token": token}, authority, settings.host, self.name)
        return path

    def remove(self) -> None:
        """With all that is in it; it takes a while. Pods first and at once: the namespace's own sweep looks again only after a while when it meets pods."""
        self.api.core.delete_collection_namespaced_pod(self.name, grace_period_seconds=0)
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            resource = self.api.kind("rbac.authorization.k8s.io/v1", kind)
            for item in resource.get().to_dict()["items"]:
                if item["metadata"]["name"].startswith(f"{self.name}-"):
                    resource.delete(name=item["metadata"]["name"])
        self.api.core.delete_namespace(self.name)
        self.api.removed.add(self.name)
