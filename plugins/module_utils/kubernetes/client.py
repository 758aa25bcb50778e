# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's API. kubernetes.core makes the connection (``login.py``); requests are made here, so that each has a deadline, and each
answer is understood."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import Access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
    NotInstalled,
    NotLoggedIn,
    Request,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import (
    KINDS,
    Kind,
    Manifest,
    Manifests,
    kind_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.login import (
    default_namespace,
    explained,
    log_in,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.owned import Applied, applied, plain_secret
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.transport import explain_no_answer

#: by this name the API server knows which fields are ours
MANAGER = "holdfast"
#: in the place of a namespace: all of them, for a list
EVERYWHERE = "*"
#: seconds for a connection, and for an answer
_CONNECT, _READ = 10.0, 60.0
#: seconds that a cluster which never answered in this run is waited for
_FIRST = 10.0
_PAGE = 500

_CONTENT = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Cluster:
    """A cluster, reached when it is first asked for something.

    ``patience``: seconds that a server which answered before is waited for, when it is away. Kinds are named as in ``kinds.KINDS``, others
    as ``group/version/Kind``. Every method raises KubernetesError (``errors.py`` has which).
    """

    def __init__(self, access: Access, patience: float = 60.0) -> None:
        self.access, self.patience = access, patience
        #: hears once that an API server which is away is waited for
        self.tell: Callable[[str], None] = lambda message: None
        self._api: Any = None
        self._connected_at = 0.0
        self._answered = False
        self._namespace: Optional[str] = access.namespace
        self._found: dict[str, Kind] = {}

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._client().configuration.host)

    @property
    def namespace(self) -> str:
        """The one that was given, else the pod's own, else that of the kubeconfig's context.

        Raises:
            BadOption: there is none. ``default`` is not guessed.
        """
        if not self._namespace:
            self._namespace = default_namespace(self.access)
        if not self._namespace:
            raise BadOption(
                "kubernetes.namespace",
                "",
                "is not given, and neither a pod's service account nor the context of the kubeconfig has one",
                "Name the namespace.",
            )
        return self._namespace

    def kind(self, name: str) -> Kind:
        """A kind by its name. Raises NotInstalled where the cluster has no such one."""
        if name in KINDS:
            return KINDS[name]
        if name not in self._found:
            api_version, _slash, short = name.rpartition("/")
            if not api_version:
                raise KubernetesError(f"{name} is no kind that is known here: write group/version/{name}.")
            unknown = Kind(short, api_version, "")
            answer = self._json("GET", unknown.root, Request("get", unknown, server=self.server))
            for one in answer.get("resources") or ():
                if one.get("kind") == short and "/" not in one["name"]:
                    self._found[name] = Kind(short, api_version, one["name"], bool(one.get("namespaced")))
            if name not in self._found:
                raise NotInstalled(f"The API server {self.server} has {api_version}, and no {short} in it.")
        return self._found[name]

    def get(self, kind: str, name: str, namespace: Optional[str] = None) -> Optional[Manifest]:
        """An object; None where there is none."""
        request, path = self._request("get", kind, name, namespace)
        try:
            return self._json("GET", path, request)
        except Missing:
            return None

    def list(self, kind: str, selector: str = "", fields: str = "", namespace: Optional[str] = None) -> Manifests:
        """All objects of a kind, by labels (``app=shop,tier!=web``) and fields (``involvedObject.name=x``), of a namespace or EVERYWHERE."""
        request, path = self._request("list", kind, "", namespace)
        found: Manifests = []
        query = {"limit": _PAGE, "labelSelector": selector, "fieldSelector": fields, "continue": ""}
        while True:
            answer = self._json("GET", path, request, query)
            # A list says kind and version once, for all that is in it.
            found += (
                {"apiVersion": request.kind.api_version, "kind": request.kind.name, **item}
                for item in answer.get("items") or ()
            )
            query["continue"] = (answer.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return found

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        """Make an object. Raises AlreadyThere. It is not tried again once it may have been carried out."""
        request, path = self._of("create", manifest)
        return self._json("POST", path, request, _writing(dry_run), plain_secret(manifest))

    def apply(self, manifest: Manifest, dry_run: bool = False, force: bool = False) -> Applied:
        """Make an object so (server-side apply): fields that were ours and are not in the ``manifest`` go, those of others stay.
        ``dry_run``: the server does all but keep it, so that admission, quotas and CEL have spoken. ``force``: take fields from others.

        Raises:
            Conflict: a field is another manager's.
        """
        request, path = self._of("patch", manifest)
        name = request.name
        before = self.get(kind_of(manifest), name, request.namespace)
        query = {**_writing(dry_run), "force": "true" if force else ""}
        after = self._json("PATCH", path, request, query, plain_secret(manifest), "apply", repeat=True)
        return applied(before, after, MANAGER)

    def patch(
        self,
        kind: str,
        name: str,
        body: Union[Manifest, Manifests],
        namespace: Optional[str] = None,
        dry_run: bool = False,
        form: str = "merge",
        subresource: str = "",
    ) -> Manifest:
        """Change some of an object. ``form``: merge, strategic or json (RFC 6902, not tried again once it may have been carried out)."""
        request, path = self._request("patch", kind, name, namespace, subresource)
        return self._json("PATCH", path, request, _writing(dry_run), body, form, repeat=form != "json")

    def delete(
        self,
        kind: str,
        name: str,
        namespace: Optional[str] = None,
        uid: str = "",
        propagation: str = "Background",
        grace: Optional[int] = None,
        dry_run: bool = False,
    ) -> bool:
        """Delete an object; what it owns goes with it. ``uid``: only this very one. False: there was none. It may take its time: ``wait.py``."""
        request, path = self._request("delete", kind, name, namespace)
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            self._json("DELETE", path, request, {}, body, repeat=True)
        except Missing:
            return False
        return True

    def events(self, kind: str, name: str, namespace: Optional[str] = None) -> Manifests:
        """What was said of an object, the oldest first. Empty as well where that may not be read: events only advise."""
        try:
            found = self.list("Event", "", f"involvedObject.kind={kind},involvedObject.name={name}", namespace)
        except Forbidden:
            return []
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def logs(
        self,
        pod: str,
        container: str = "",
        namespace: Optional[str] = None,
        follow: bool = False,
        since: str = "",
        tail: Optional[int] = None,
        timestamps: bool = False,
        idle: float = 30.0,
    ) -> Iterator[str]:
        """Lines of a log. ``since``: RFC 3339. With ``follow`` it ends when the container does, when nothing came for ``idle`` seconds, or
        when the connection broke: who follows looks at the pod then, and asks again with ``since``."""
        request, path = self._request("get", "Pod", pod, namespace, "log")
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "sinceTime": since,
            "tailLines": "" if tail is None else tail,
            "timestamps": "true" if timestamps else "",
        }
        answer = self._repeated(
            lambda: self._once("GET", path, request, query, None, "", idle if follow else _READ), request, repeat=True
        )
        rest = b""
        try:
            for piece in answer.stream(65536, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except Exception as exc:
            if not follow:
                raise explain_no_answer(exc, request) from exc
        finally:
            answer.close()
        if rest:
            yield rest.decode("utf-8", "replace")

    # What follows is how.

    def _request(
        self, verb: str, kind: str, name: str, namespace: Optional[str], subresource: str = ""
    ) -> tuple[Request, str]:
        found = self.kind(kind)
        where = (namespace or self.namespace) if found.namespaced and namespace != EVERYWHERE else ""
        request = Request(verb, found, name, where, subresource, self.server)
        return request, found.path(where, name, subresource)

    def _of(self, verb: str, manifest: Manifest) -> tuple[Request, str]:
        metadata = manifest["metadata"]
        name = str(metadata.get("name") or "")
        request, path = self._request(verb, kind_of(manifest), name, metadata.get("namespace"))
        return request, path if verb != "create" else request.kind.path(request.namespace)

    def _json(
        self,
        method: str,
        path: str,
        request: Request,
        query: Optional[Mapping[str, Any]] = None,
        body: Any = None,
        form: str = "",
        repeat: bool = False,
    ) -> Manifest:
        repeat = repeat or method == "GET"
        answer = self._repeated(
            lambda: self._once(method, path, request, query or {}, body, form, _READ), request, repeat
        )
        text = answer.data.decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise KubernetesError(
                f"{request.server} answers with something that is no Kubernetes API: {' '.join(text.split())[:200]}. Look at kubernetes.host, "
                "and at what stands between."
            )
        return found

    def _repeated(self, attempt: Callable[[], Any], request: Request, repeat: bool) -> Any:
        """Until there is an answer, or patience has ended. A request that may have been carried out is sent again only with ``repeat``."""
        began, pause = time.monotonic(), 0.5
        fresh = told = False
        while True:
            try:
                answer = attempt()
                self._answered = True
                return answer
            except NotLoggedIn:
                # A token has its time; a new one may be in the kubeconfig, or in the pod, by now.
                if fresh or time.monotonic() - self._connected_at < 1:
                    raise
                self._api, fresh = None, True
            except Unreachable as exc:
                patience = self.patience if self._answered else min(self.patience, _FIRST)
                waited = time.monotonic() - began
                if exc.sent and not repeat:
                    raise Unreachable(
                        f"{exc} The request was sent, so that it may have been carried out: look before it is made again.",
                        exc.sent,
                    ) from exc
                if waited + pause > patience:
                    raise Unreachable(f"{exc} It was tried for {waited:.0f} s.", exc.sent) from exc
                if not told:
                    self.tell(f"{exc} It is waited for, for {patience:.0f} s at most.")
                    told = True
                time.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _once(
        self, method: str, path: str, request: Request, query: Mapping[str, Any], body: Any, form: str, read: float
    ) -> Any:
        """One request. The answer's body has not been read yet."""
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = _CONTENT.get(form, "application/json")
        client = self._client()
        try:
            return client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in query.items() if value != ""],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=(_CONNECT, read),
            )
        except Exception as exc:
            if form == "apply" and not isinstance(body, str) and "Cannot prepare a request" in str(exc):
                # Older libraries want it as a text, newer ones would quote one. Nothing was sent.
                return self._once(method, path, request, query, json.dumps(body), form, read)
            raise explained(exc, request) from exc

    def _client(self) -> Any:
        if self._api is None:
            self._api = self._repeated_login()
            self._connected_at = time.monotonic()
        return self._api

    def _repeated_login(self) -> Any:
        began = time.monotonic()
        while True:
            try:
                return log_in(self.access)
            except Unreachable as exc:
                patience = self.patience if self._answered else min(self.patience, _FIRST)
                waited = time.monotonic() - began
                if waited + 1 > patience:
                    raise Unreachable(f"{exc} It was tried for {waited:.0f} s.", exc.sent) from exc
                time.sleep(1)


def _writing(dry_run: bool) -> dict[str, Any]:
    return {"fieldManager": MANAGER, "fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
