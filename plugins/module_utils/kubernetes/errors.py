# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server answers, as a message for a person (pure). The answers' form is ``metav1.Status``; what they say was recorded from
Kubernetes 1.36: tests/unit/kubernetes/test_errors.py has the bodies."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Kind
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import Rule, rule_for


class KubernetesError(HoldfastError):
    """The cluster refused, failed, cannot be reached, or is not what it should be."""


class Unreachable(KubernetesError):
    """No answer, or one that says to come later. ``sent``: the request may have been carried out all the same."""

    def __init__(self, message: str, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class NotLoggedIn(KubernetesError):
    """The credentials are not accepted. Nothing was done."""


class Forbidden(KubernetesError):
    """A right is missing: ``rule`` would give it. ``namespace`` is empty for a right on the whole cluster."""

    def __init__(self, message: str, rule: Rule, namespace: str) -> None:
        super().__init__(message)
        self.rule, self.namespace = rule, namespace


class NotInstalled(KubernetesError):
    """The cluster does not know the kind: its CustomResourceDefinition is not there, or of another version."""


class Missing(KubernetesError):
    """An object, or the namespace, is not there."""


class Terminating(KubernetesError):
    """The namespace, or the object of that name, is being deleted."""


class AlreadyThere(KubernetesError):
    """An object of that name is there."""


class Conflict(KubernetesError):
    """Somebody else has the fields, or changed the object meanwhile. ``fields`` and their managers are pairs."""

    def __init__(self, message: str, fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class Invalid(KubernetesError):
    """The object is not as the API wants it."""


class QuotaExceeded(KubernetesError):
    """A ResourceQuota leaves no room."""


class Denied(KubernetesError):
    """Admission refused: a webhook, a policy, Pod Security, a LimitRange."""


@dataclass(frozen=True)
class Request:
    """What was asked. ``verb`` as in a Role; ``server`` is the API server's URL."""

    verb: str
    kind: Kind
    name: str = ""
    namespace: str = ""
    subresource: str = ""
    server: str = ""

    @property
    def changes(self) -> bool:
        return self.verb not in ("get", "list", "watch")

    @property
    def resource(self) -> str:
        return "/".join(filter(None, (self.kind.plural, self.subresource)))

    def __str__(self) -> str:
        what = f"{self.kind.name} {self.name}".strip()
        what = f"the {self.subresource} of {what}" if self.subresource else what
        return f"{self.verb} {what}" + (f" in namespace {self.namespace}" if self.namespace else "")


_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) (?:resource|path) "(?P<resource>[^"]*)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)"| at the cluster scope)?'
)
_WEBHOOK_DENIED = re.compile(r'admission webhook "([^"]+)" denied the request(?: without explanation)?:?\s*(.*)', re.S)
_WEBHOOK_DOWN = re.compile(r'failed calling webhook "([^"]+)": (.*)', re.S)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']*' denied request: (.*)", re.S)
_POD_SECURITY = re.compile(r'violates PodSecurity "([^"]+)": (.*)', re.S)
_QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (.*), used: (.*), limited: (.*)")
_MUST_SPECIFY = re.compile(r"failed quota: ([^:]+): must specify (.*)")
_MANAGER = re.compile(r'conflict with "([^"]+)"')
_UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"|(\.[\w.\[\]-]+): field not declared in schema')
_NOT_HELD = re.compile(r"attempting to grant RBAC permissions not currently held:\s*(.*)", re.S)
_NAMESPACE_MISSING = re.compile(r'namespaces "([^"]+)" not found')
_TRANSIENT = re.compile(
    r"etcdserver|the server is currently unable|try again|leader changed|apiserver (not ready|is shutting down)"
)


@dataclass(frozen=True)
class Status:
    """An answer: the HTTP ``code``, and what its body says."""

    code: int
    message: str
    reason: str = ""
    kind: str = ""
    name: str = ""
    causes: tuple[tuple[str, str, str], ...] = ()  # reason, field, message
    ours: bool = True  # false: no Kubernetes wrote this


def read_status(code: int, body: Optional[str]) -> Status:
    """The body of an answer that is no success."""
    try:
        found: Any = json.loads(body or "")
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "Status":
        text = " ".join((body or "").split())
        return Status(code, text[:300], ours=code == 404 and text.startswith("404 page not found"))
    details = found.get("details") or {}
    causes = tuple(
        (one.get("reason", ""), one.get("field", ""), one.get("message", "")) for one in details.get("causes") or ()
    )
    message = " ".join(str(found.get("message") or "").split())
    return Status(
        code, message, found.get("reason") or "", details.get("kind") or "", details.get("name") or "", causes
    )


def explain(code: int, body: Optional[str], request: Request) -> KubernetesError:
    """What an answer means. ``code``: of HTTP; ``body``: as it came."""
    status = read_status(code, body)
    for ask in (_elsewhere, _not_logged_in, _admission, _forbidden, _not_found, _conflict, _invalid, _later):
        error = ask(status, request)
        if error is not None:
            return error
    return KubernetesError(f"The API server {request.server} refused to {request}: {status.message or status.code}.")


def _elsewhere(status: Status, request: Request) -> Optional[KubernetesError]:
    if status.ours or status.code in (401, 429, 500, 502, 503, 504):
        return None
    return KubernetesError(
        f"{request.server} answers with HTTP {status.code} and no Kubernetes API: {status.message.rstrip('.') or 'nothing'}. Look at kubernetes.host (or the "
        "server of the kubeconfig's context) and kubernetes.proxy: something else is there, or stands between."
    )


def _not_logged_in(status: Status, request: Request) -> Optional[KubernetesError]:
    anonymous = status.code == 403 and 'User "system:anonymous"' in status.message
    if status.code != 401 and not anonymous:
        return None
    why = (
        "came without credentials (it was taken for system:anonymous): the kubeconfig's user has none, or its exec plugin failed"
        if anonymous
        else "has credentials that it does not accept (401): the token or the client certificate has expired, was revoked, or is another cluster's"
    )
    return NotLoggedIn(
        f"For the API server {request.server} the request to {request} {why}. Nothing was done by it. Log in again where the kubeconfig is made, "
        "or give a new token by kubernetes.api_key (K8S_AUTH_API_KEY); a service account's is made by: kubectl create token NAME -n NAMESPACE."
    )


def _admission(status: Status, request: Request) -> Optional[KubernetesError]:
    """What happened after the rights were found to do."""
    message, nothing = status.message, "Nothing was changed."
    if any(reason == "NamespaceTerminating" for reason, _field, _message in status.causes) or (
        "because it is being terminated" in message
    ):
        return Terminating(
            f"Cannot {request}: the namespace is being deleted, and takes nothing new. {nothing} Wait until it is gone, or use another one; "
            f"when it does not go, kubectl get namespace {request.namespace} -o yaml says what it waits for."
        )
    if found := _WEBHOOK_DOWN.search(message):
        return KubernetesError(
            f"Cannot {request}: the admission webhook {found[1]} does not answer ({found[2]}). {nothing} Whoever runs that webhook has to bring it "
            "back; kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations says whose it is."
        )
    if found := _WEBHOOK_DENIED.search(message):
        return Denied(
            f"Cannot {request}: the admission webhook {found[1]} refuses it: {found[2] or 'without saying why'}. {nothing}"
        )
    if found := _POLICY.search(message):
        return Denied(f"Cannot {request}: the ValidatingAdmissionPolicy {found[1]} refuses it: {found[2]}. {nothing}")
    if found := _POD_SECURITY.search(message):
        return Denied(
            f"Cannot {request}: Pod Security of the namespace is {found[1]}, and the pod would break it: {found[2]}. {nothing}"
        )
    if found := _QUOTA.search(message):
        return QuotaExceeded(
            f"Cannot {request}: the ResourceQuota {found[1]} leaves no room: asked for {found[2]}, in use {found[3]}, at most {found[4]}. {nothing} "
            "Remove what is not needed, or have the quota raised."
        )
    if found := _MUST_SPECIFY.search(message):
        return QuotaExceeded(
            f"Cannot {request}: under the ResourceQuota {found[1]} each container has to say {found[2]}. {nothing} Give resources."
        )
    if found := _NOT_HELD.search(message):
        return Denied(
            f"Cannot {request}: nobody may give rights that he does not have himself, and these are missing: {found[1]}. {nothing} Have somebody "
            "with these rights make the Role once, or be given them (or the verb escalate on roles)."
        )
    if "cannot set blockOwnerDeletion" in message:
        return Denied(
            f"Cannot {request}: to be owned by another object so that its deletion waits, the right to update that object's finalizers is needed. "
            f"{nothing}"
        )
    if status.code == 403 and not _FORBIDDEN.search(message) and "is forbidden:" in message:
        return Denied(
            f"Cannot {request}: admission refuses it: {message.partition('is forbidden:')[2].strip()}. {nothing}"
        )
    return None


def _forbidden(status: Status, request: Request) -> Optional[KubernetesError]:
    if status.code != 403:
        return None
    found = _FORBIDDEN.search(status.message)
    verb = found["verb"] if found else request.verb
    resource = found["resource"] if found else request.resource
    group = (found["group"] or "") if found else request.kind.group
    namespace = (found["namespace"] or "") if found else request.namespace
    user = found["user"] if found else "this user"
    rule = rule_for(verb, resource, group, request.name if resource == request.resource else "")
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    role = f"a Role of namespace {namespace}" if namespace else "a ClusterRole"
    of_group = f" (API group {group})" if group else ""
    return Forbidden(
        f"Cannot {request}: {user} may not {verb} {resource}{of_group} {where}. Nothing was done. Add to the rules of {role} that is bound to it: "
        f"{rule.line()}",
        rule,
        namespace,
    )


def _not_found(status: Status, request: Request) -> Optional[KubernetesError]:
    if status.code != 404:
        return None
    if found := _NAMESPACE_MISSING.search(status.message):
        return Missing(
            f"Cannot {request}: there is no namespace {found[1]} in this cluster ({request.server}). Nothing was changed. Look at "
            "kubernetes.namespace and kubernetes.context, or make it: kubectl create namespace " + found[1]
        )
    if not status.name:
        kind = request.kind
        definition = (
            f"CustomResourceDefinition {kind.plural}.{kind.group}" if kind.plural and kind.group else "definition"
        )
        return NotInstalled(
            f"Cannot {request}: the API server {request.server} has no {kind.name} of {kind.api_version}. What brings it (the {definition}, and its "
            "controller) is not installed in this cluster, or has another version; kubectl api-resources lists what there is."
        )
    return Missing(f"Cannot {request}: it is not there.")


def _conflict(status: Status, request: Request) -> Optional[KubernetesError]:
    if status.code != 409:
        return None
    if "object is being deleted" in status.message:
        return Terminating(
            f"Cannot {request}: one of that name is still being deleted. Nothing was changed. Try again when it is gone."
        )
    if status.reason == "AlreadyExists":
        return AlreadyThere(f"Cannot {request}: one of that name is there already. It was left as it is.")
    fields = tuple(
        (field, found[1] if (found := _MANAGER.search(message)) else "somebody else")
        for reason, field, message in status.causes
        if reason == "FieldManagerConflict"
    )
    if fields:
        said = "; ".join(f"{field} is {manager}'s" for field, manager in fields)
        return Conflict(
            f"Cannot {request}: fields that would be changed belong to another field manager: {said}. Nothing was changed. Let that one give it up (or "
            "set it to the same value), or leave the field out here.",
            fields,
        )
    if "precondition" in status.message.lower():
        return Conflict(
            f"Cannot {request}: it is another object by now (deleted and made anew under the same name). It was left as it is."
        )
    return Conflict(
        f"Cannot {request}: somebody changed it meanwhile ({status.message}). Nothing was changed. Try again."
    )


def _invalid(status: Status, request: Request) -> Optional[KubernetesError]:
    unknown = [one or other for one, other in _UNKNOWN_FIELD.findall(status.message)]
    if unknown:
        kind = request.kind
        return Invalid(
            f"Cannot {request}: {kind.api_version} {kind.name} has no field {', '.join(unknown)}. Nothing was changed. It is misspelt, stands in "
            "the wrong place, or this cluster is too old for it."
        )
    if status.code == 413 or "request is too large" in status.message or "Request entity too large" in status.message:
        return Invalid(f"Cannot {request}: it is too large for the API ({status.message}). Nothing was changed.")
    if status.code not in (400, 422):
        return None
    if "immutable" in status.message or "updates to statefulset spec" in status.message:
        fields = ", ".join(dict.fromkeys(field for _reason, field, _message in status.causes if field)) or "a field"
        return Invalid(
            f"Cannot {request}: {fields} cannot be changed once the object is there ({_first(status)}). It was left as it is. To have it otherwise it "
            "must be deleted and made anew."
        )
    said = (
        "; ".join(f"{field}: {_short(message)}" for _reason, field, message in status.causes if field) or status.message
    )
    return Invalid(f"Cannot {request}: it is not as {request.kind.api_version} wants it: {said}. Nothing was changed.")


def _first(status: Status) -> str:
    return _short(status.causes[0][2]) if status.causes else status.message


def _short(message: str) -> str:
    """What is said of a value, without the value where that is long: the API repeats a pod's whole template."""
    start, colon, rest = message.partition("Invalid value: ")
    return rest.rpartition(": ")[2] if colon and not start and len(rest) > 200 else message


def _later(status: Status, request: Request) -> Optional[KubernetesError]:
    if status.code == 429 and "disruption budget" in status.message:
        return Denied(f"Cannot {request}: a PodDisruptionBudget forbids it now: {status.message}.")
    later = status.code in (429, 502, 503, 504) or (status.code == 500 and bool(_TRANSIENT.search(status.message)))
    if not later:
        return None
    what = "has too much to do" if status.code == 429 else "is there, and cannot serve"
    return Unreachable(
        f"Cannot {request}: the API server {request.server} {what} (HTTP {status.code}: {status.message or 'no message'}).",
        sent=status.code != 429,
    )
