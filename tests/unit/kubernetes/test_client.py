# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a server that answers as it is told: what is tried again, and what never is; deadlines; tokens that change."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import (
    access as access_module,
    client,
    errors,
    login,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import Access, access, access_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.owned import applied, owned, plain_secret

pytest.importorskip("kubernetes")
pytest.importorskip("ansible_collections.kubernetes.core")

Answer = tuple[int, Any]
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "backup"}}
GONE = {"kind": "Status", "message": "x not found", "reason": "NotFound", "details": {"kind": "pods", "name": "x"}}
# What kubernetes.core asks when it makes a connection.
DISCOVERY: dict[str, Any] = {
    "/version": {"gitVersion": "v1.36.3", "major": "1", "minor": "36"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
}


class FakeApi:
    """Answers each request by ``answer(method, path, body)``; None breaks the connection."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Any]] = []
        self.answer: Callable[[str, str, Any], Optional[Answer]] = lambda method, path, body: (200, {})
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if self.path in DISCOVERY:
                    found: Optional[Answer] = (200, DISCOVERY[self.path])
                else:
                    api.asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                    found = api.answer(self.command, self.path, body)
                if found is None:
                    self.connection.close()
                    return
                data = found[1].encode() if isinstance(found[1], str) else json.dumps(found[1]).encode()
                self.send_response(found[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = _do

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def then(self, *answers: Optional[Answer]) -> None:
        """Answer so, one after the other, and by the last one for ever."""
        rest = list(answers)
        self.answer = lambda method, path, body: rest.pop(0) if len(rest) > 1 else rest[0]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeApi]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # of the library's cache
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    found = FakeApi()
    yield found
    found.server.shutdown()
    found.server.server_close()


def cluster(api: FakeApi, **more: Any) -> Cluster:
    return Cluster(access_of({"host": api.url, "api_key": "token", "namespace": "shop"}), **more)


def test_what_is_read_is_tried_again_and_what_is_made_never(api: FakeApi) -> None:
    """A server that is away in the middle of a run is waited for; an object that may have been made is not made twice."""
    api.then((503, "away"), None, (200, {"metadata": {"name": "db-0"}}))
    assert cluster(api).get("Pod", "db-0") == {"metadata": {"name": "db-0"}} and len(api.asked) == 3
    api.asked.clear()
    api.then(None, (201, JOB))
    with pytest.raises(errors.Unreachable, match="may have been carried out"):
        cluster(api).create(JOB)
    assert len(api.asked) == 1
    # What says the same however often it is sent is sent again, and so is what was not taken at all.
    api.asked.clear()
    api.then((200, JOB), None, (200, JOB))
    cluster(api).apply(JOB)
    assert [method for method, *_rest in api.asked] == ["GET", "PATCH", "PATCH"]
    api.then((429, {"kind": "Status", "message": "later"}), (201, JOB))
    assert cluster(api).create(JOB) == JOB


def test_patience_ends(api: FakeApi) -> None:
    api.then((503, "away"))
    with pytest.raises(errors.Unreachable, match="It was tried for"):
        cluster(api, patience=0.6).get("Pod", "db-0")


def test_what_is_not_there_is_none(api: FakeApi) -> None:
    api.then((404, GONE))
    assert cluster(api).get("Pod", "x") is None
    assert cluster(api).delete("Pod", "x") is False
    api.then((404, "404 page not found"))
    with pytest.raises(errors.NotInstalled):
        cluster(api).get("VolumeSnapshot", "x")


def test_pages_are_put_together_and_items_say_what_they_are(api: FakeApi) -> None:
    api.then(
        (200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"items": [{"metadata": {"name": "b"}}]}),
    )
    found = cluster(api).list("StatefulSet", "app=db")
    assert [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found] == [
        ("apps/v1", "StatefulSet", "a"),
        ("apps/v1", "StatefulSet", "b"),
    ]
    assert "labelSelector=app%3Ddb" in api.asked[0][1] and "continue=more" in api.asked[1][1]


def test_another_kind_is_looked_up_once(api: FakeApi) -> None:
    listed = {
        "resources": [
            {"name": "clusters", "kind": "Cluster", "namespaced": True},
            {"name": "clusters/status", "kind": "Cluster", "namespaced": True},
        ]
    }
    api.answer = lambda method, path, body: (
        (200, listed) if path == "/apis/postgresql.cnpg.io/v1" else (200, {"items": []})
    )
    found = cluster(api)
    assert found.list("postgresql.cnpg.io/v1/Cluster") == [] == found.list("postgresql.cnpg.io/v1/Cluster")
    assert [path.partition("?")[0] for _method, path, _token, _body in api.asked] == [
        "/apis/postgresql.cnpg.io/v1", *["/apis/postgresql.cnpg.io/v1/namespaces/shop/clusters"] * 2
    ]  # fmt: skip
    with pytest.raises(errors.NotInstalled):
        found.get("postgresql.cnpg.io/v1/Nothing", "x")


def test_a_dry_run_says_so_in_each_request(api: FakeApi) -> None:
    api.then((200, JOB))
    found = cluster(api)
    found.create(JOB, dry_run=True)
    found.apply(JOB, dry_run=True)
    found.patch("Job", "backup", {"spec": {}}, dry_run=True)
    assert all(
        "dryRun=All" in path and "fieldManager=holdfast" in path
        for method, path, *_rest in api.asked
        if method != "GET"
    )
    found.delete("Job", "backup", uid="u", dry_run=True)
    assert api.asked[-1][3] == {
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": "u"}, "dryRun": ["All"]
    }  # fmt: skip


def test_a_token_that_expired_is_read_anew(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig whose token is exchanged while a run goes on for hours. One that stays expired is said at once."""
    path = tmp_path / "config"

    def write(token: str) -> None:
        context = {"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": "shop"}}
        users = [{"name": "me", "user": {"token": token}}]
        clusters = [{"name": "lab", "cluster": {"server": api.url}}]
        path.write_text(
            json.dumps({"current-context": "lab", "contexts": [context], "users": users, "clusters": clusters})
        )

    write("old")
    found = Cluster(access_of({"kubeconfig": str(path)}))
    assert found.namespace == "shop"
    valid = ["Bearer old"]
    api.answer = lambda method, path, body: (200, {"items": []}) if api.asked[-1][2] in valid else (401, "Unauthorized")
    assert found.list("Pod") == []
    valid[:] = ["Bearer new"]
    with pytest.raises(errors.NotLoggedIn):
        found.list("Pod")
    write("new")
    found._connected_at -= 60
    assert found.list("Pod") == []


def test_what_is_given_explicitly_takes_precedence_over_the_kubeconfig(api: FakeApi, tmp_path: Path) -> None:
    """The library refreshes the kubeconfig's token before each request, over the one that was given."""
    context = {"name": "lab", "context": {"cluster": "lab", "user": "admin"}}
    config = {
        "current-context": "lab",
        "contexts": [context],
        "users": [{"name": "admin", "user": {"token": "admins"}}],
        "clusters": [{"name": "lab", "cluster": {"server": api.url}}],
    }
    api.then((200, {"items": []}))
    Cluster(access_of({"kubeconfig": config, "api_key": "mine", "namespace": "shop"})).list("Pod")
    assert api.asked[-1][2] == "Bearer mine"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"kubeconfig": "/nowhere/config"}, "kubernetes.kubeconfig: '/nowhere/config' is not there"),
        (
            {"kubeconfig": {"contexts": [{"name": "a", "context": {}}], "clusters": [], "users": []}, "context": "b"},
            "kubernetes.context: 'b'.*It has: a",
        ),
        ({}, "No way into a Kubernetes cluster is known"),
        ({"host": "https://127.0.0.1:1", "api_key": "x"}, "connection refused"),
    ],
    ids=str,
)
def test_no_way_in_is_a_message(
    given: dict[str, Any], wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises((errors.KubernetesError, BadOption), match=wanted):
        Cluster(access_of(given), patience=0).get("Pod", "x", "shop")


def test_a_namespace_is_never_guessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("of-the-pod\n")
    monkeypatch.setattr(login, "SERVICE_ACCOUNT", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert Cluster(Access()).namespace == "of-the-pod"
    contexts = [{"name": "a", "context": {"namespace": "of-a"}}, {"name": "b", "context": {}}]
    config = {"contexts": contexts, "current-context": "a", "clusters": [], "users": []}
    assert Cluster(access_of({"kubeconfig": config})).namespace == "of-a"
    assert Cluster(access_of({"kubeconfig": config, "namespace": "given"})).namespace == "given"
    for other in ({"kubeconfig": config, "context": "b"}, {"host": "https://x", "api_key": "y"}):
        with pytest.raises(BadOption, match="Name the namespace"):
            assert Cluster(access_of(other)).namespace


def test_the_path_of_a_kubeconfig_may_be_said_and_its_content_not() -> None:
    class Module:
        params: dict[str, Any]
        no_log_values: set[str]

    module = Module()
    module.params, module.no_log_values = (
        {"kubernetes": {"kubeconfig": "/home/me/config", "namespace": None}},
        {"/home/me/config", "s3cret"},
    )
    assert access(module) == Access({"kubeconfig": "/home/me/config"}) and module.no_log_values == {"s3cret"}


def test_environment_is_read_as_kubernetes_core_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_HOST", "https://x")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "y")
    assert Access().by_itself and Access({"host": "z"}).value("host") == "z"


def test_hosts_without_kubernetes_never_import_it() -> None:
    """Importing all of the room imports neither the library nor kubernetes.core; only a request does, and says what is missing."""
    names = [path.stem for path in Path(access_module.__file__).parent.glob("*.py") if path.stem != "__init__"]
    room = "ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes"
    script = f"""
import sys
sys.path[:] = {sys.path!r}
class No:
    def find_spec(self, name, *rest):
        if name == "kubernetes" or name.startswith(("kubernetes.", "ansible_collections.kubernetes")):
            raise ImportError("No module named " + repr(name))
sys.meta_path.insert(0, No())
import importlib
for name in {names!r}:
    importlib.import_module("{room}." + name)
from {room}.client import Cluster
from {room}.access import Access
try:
    Cluster(Access(namespace="x")).get("Pod", "x")
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "KubernetesError To reach a Kubernetes cluster the Python package kubernetes is needed"
    ), done.stdout
    assert "pip install 'kubernetes>=24.2,<37'" in done.stdout


def test_only_one_file_imports_the_library() -> None:
    found = [
        path.name
        for path in Path(access_module.__file__).parents[2].rglob("*.py")
        if "import kubernetes" in path.read_text() or "ansible_collections.kubernetes" in path.read_text()
    ]
    assert found == ["login.py"]


FIELDS = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:image": {}}}},
    "f:data": {"f:password": {}},
}


def _object(replicas: int, managed: bool = True) -> dict[str, Any]:
    entry = {"manager": "holdfast", "operation": "Apply", "fieldsV1": FIELDS}
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {
            "name": "x",
            "namespace": "n",
            "uid": "u",
            "labels": {"app": "db", "other": "theirs"},
            "managedFields": [entry] if managed else [],
        },
        "spec": {
            "replicas": replicas,
            "paused": True,
            "containers": [{"name": "b", "image": "z"}, {"name": "a", "image": "i", "tty": True}],
        },
        "data": {"password": base64.b64encode(b"hush").decode(), "theirs": "x"},
    }


def test_only_what_is_ours_is_compared_and_no_secret_is_shown() -> None:
    mine = owned(_object(1), "holdfast")
    assert mine["spec"] == {"replicas": 1, "containers": [{"image": "i", "name": "a"}]} and mine["metadata"] == {
        "labels": {"app": "db"}
    }
    found = applied(_object(1), _object(2), "holdfast")
    assert (
        found.changed and found.diff["before"]["spec"]["replicas"] == 1 and found.diff["after"]["spec"]["replicas"] == 2
    )
    assert "hush" not in str(found.diff) and base64.b64encode(b"hush").decode() not in str(found.diff)
    assert not applied(_object(1), _object(1), "holdfast").changed
    assert (
        applied(None, _object(1), "holdfast").before == {}
        and applied(_object(1, managed=False), _object(1), "holdfast").changed
    )


def test_a_secrets_values_are_all_kept_track_of() -> None:
    made = plain_secret({"kind": "Secret", "data": {"a": "eA=="}, "stringData": {"b": "y"}})
    assert made == {"kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}
