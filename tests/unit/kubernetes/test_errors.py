# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server answers is a message for a person: bodies as Kubernetes 1.36 writes them, and what we make of each."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import errors
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Request, explain
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import KINDS, Kind
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.transport import explain_no_answer

SERVER = "https://10.250.0.2:6443"
CREATE_JOB = Request("create", KINDS["Job"], "backup", "shop", server=SERVER)
PATCH_SET = Request("patch", KINDS["StatefulSet"], "db", "shop", server=SERVER)
GET_POD = Request("get", KINDS["Pod"], "db-0", "shop", server=SERVER)


def body(
    message: str, reason: str = "", kind: str = "", name: str = "", causes: Optional[list[dict[str, str]]] = None
) -> str:
    details: dict[str, Any] = {"kind": kind, "name": name, "causes": causes or []}
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
        }
    )


RBAC = 'jobs.batch is forbidden: User "system:serviceaccount:shop:backup" cannot create resource "jobs" in API group "batch" in the namespace "shop"'
QUOTA = 'pods "backup-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set it)'
GRANT = (
    'roles.rbac.authorization.k8s.io "r" is forbidden: user "system:serviceaccount:shop:s" (groups=["system:authenticated"]) is attempting to '
    'grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
)

# code, body, request, the error, what its message has
TABLE: list[tuple[int, Optional[str], Request, type[errors.KubernetesError], list[str]]] = [
    (
        401,
        body("Unauthorized", "Unauthorized"),
        GET_POD,
        errors.NotLoggedIn,
        ["expired", "kubectl create token", SERVER],
    ),
    (401, "Unauthorized", GET_POD, errors.NotLoggedIn, ["expired"]),
    (
        403,
        body(
            'pods is forbidden: User "system:anonymous" cannot get resource "pods" in API group "" in the namespace "shop"',
            "Forbidden",
        ),
        GET_POD,
        errors.NotLoggedIn,
        ["without credentials", "exec plugin"],
    ),
    (
        403,
        body(RBAC, "Forbidden"),
        CREATE_JOB,
        errors.Forbidden,
        ["system:serviceaccount:shop:backup may not create jobs", "a Role of namespace shop"],
    ),
    (
        403,
        body(QUOTA, "Forbidden"),
        CREATE_JOB,
        errors.QuotaExceeded,
        ["ResourceQuota small", "pods=1", "Nothing was changed"],
    ),
    (
        403,
        body(
            'pods "x" is forbidden: failed quota: cpu: must specify limits.cpu for: c; limits.memory for: c',
            "Forbidden",
        ),
        CREATE_JOB,
        errors.QuotaExceeded,
        ["limits.cpu", "Give resources"],
    ),
    (403, body(SECURITY, "Forbidden"), CREATE_JOB, errors.Denied, ["restricted:latest", "allowPrivilegeEscalation"]),
    (403, body(GRANT, "Forbidden"), CREATE_JOB, errors.Denied, ["nobody may give rights", "secrets"]),
    (
        403,
        body('pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2', "Forbidden"),
        CREATE_JOB,
        errors.Denied,
        ["maximum cpu usage"],
    ),
    (
        403,
        body(
            'jobs.batch "backup" is forbidden: unable to create new content in namespace shop because it is being terminated',
            "Forbidden",
            causes=[
                {
                    "reason": "NamespaceTerminating",
                    "message": "namespace shop is being terminated",
                    "field": "metadata.namespace",
                }
            ],
        ),
        CREATE_JOB,
        errors.Terminating,
        ["being deleted", "kubectl get namespace shop"],
    ),
    (
        403,
        body('admission webhook "guard.io" denied the request: no root here', "Forbidden"),
        CREATE_JOB,
        errors.Denied,
        ["guard.io", "no root here"],
    ),
    (
        422,
        body(
            "jobs.batch \"b\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many",
            "Invalid",
        ),
        CREATE_JOB,
        errors.Denied,
        ["ValidatingAdmissionPolicy p", "too many"],
    ),
    (
        500,
        body(
            'Internal error occurred: failed calling webhook "guard.io": failed to call webhook: Post "https://guard.io/x?timeout=10s": connection refused',
            "InternalError",
        ),
        CREATE_JOB,
        errors.KubernetesError,
        ["guard.io does not answer", "connection refused"],
    ),
    (
        404,
        body('namespaces "shop" not found', "NotFound", "namespaces", "shop"),
        CREATE_JOB,
        errors.Missing,
        ["no namespace shop", "kubectl create namespace shop"],
    ),
    (404, body('pods "db-0" not found', "NotFound", "pods", "db-0"), GET_POD, errors.Missing, ["not there"]),
    (
        404,
        "404 page not found\n",
        Request("list", KINDS["VolumeSnapshot"], "", "shop", server=SERVER),
        errors.NotInstalled,
        ["CustomResourceDefinition"],
    ),
    (
        404,
        body("the server could not find the requested resource", "NotFound"),
        Request("create", Kind("Backup", "postgresql.cnpg.io/v1", "backups"), "b", "shop", server=SERVER),
        errors.NotInstalled,
        ["no Backup of postgresql.cnpg.io/v1", "backups.postgresql.cnpg.io"],
    ),
    (404, "<html>nginx</html>", GET_POD, errors.KubernetesError, ["no Kubernetes API", "kubernetes.host"]),
    (407, "proxy wants a password", GET_POD, errors.KubernetesError, ["HTTP 407", "kubernetes.proxy"]),
    (
        409,
        body(
            'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas',
            "Conflict",
            causes=[
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "kubectl" using apps/v1',
                    "field": ".spec.replicas",
                }
            ],
        ),
        PATCH_SET,
        errors.Conflict,
        [".spec.replicas is kubectl's"],
    ),
    (
        409,
        body('jobs.batch "backup" already exists', "AlreadyExists", "jobs", "backup"),
        CREATE_JOB,
        errors.AlreadyThere,
        ["there already"],
    ),
    (
        409,
        body('object is being deleted: jobs.batch "b" already exists', "AlreadyExists", "jobs", "b"),
        CREATE_JOB,
        errors.Terminating,
        ["still being deleted"],
    ),
    (
        409,
        body("Precondition failed: UID in precondition: a, UID in object meta: b", "Conflict"),
        PATCH_SET,
        errors.Conflict,
        ["another object"],
    ),
    (
        409,
        body('Operation cannot be fulfilled on statefulsets.apps "db": the object has been modified', "Conflict"),
        PATCH_SET,
        errors.Conflict,
        ["somebody changed it meanwhile"],
    ),
    (
        422,
        body(
            'Job.batch "b" is invalid: spec.template: Invalid value: {}: field is immutable',
            "Invalid",
            causes=[
                {
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: {}: field is immutable",
                    "field": "spec.template",
                }
            ],
        ),
        CREATE_JOB,
        errors.Invalid,
        ["spec.template cannot be changed", "deleted and made anew"],
    ),
    (
        422,
        body(
            "StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            "Invalid",
            causes=[
                {
                    "reason": "FieldValueForbidden",
                    "message": "Forbidden: updates to statefulset spec for fields …",
                    "field": "spec",
                }
            ],
        ),
        PATCH_SET,
        errors.Invalid,
        ["spec cannot be changed"],
    ),
    (
        422,
        body(
            'CronJob.batch "b" is invalid: spec.schedule: Invalid value: "x": expected exactly 5 fields',
            "Invalid",
            causes=[
                {
                    "reason": "FieldValueInvalid",
                    "message": 'Invalid value: "x": expected exactly 5 fields',
                    "field": "spec.schedule",
                }
            ],
        ),
        CREATE_JOB,
        errors.Invalid,
        ["spec.schedule", "expected exactly 5 fields"],
    ),
    (
        400,
        body('strict decoding error: unknown field "spec.replica"', "BadRequest"),
        PATCH_SET,
        errors.Invalid,
        ["no field spec.replica"],
    ),
    (
        500,
        body(
            "failed to create typed patch object (shop/db; apps/v1, Kind=StatefulSet): .spec.replica: field not declared in schema"
        ),
        PATCH_SET,
        errors.Invalid,
        ["no field .spec.replica"],
    ),
    (
        429,
        body("Too many requests, please try again later.", "TooManyRequests"),
        CREATE_JOB,
        errors.Unreachable,
        ["too much to do"],
    ),
    (503, "", GET_POD, errors.Unreachable, ["cannot serve"]),
    (500, body("etcdserver: leader changed", "InternalError"), CREATE_JOB, errors.Unreachable, ["leader changed"]),
    (
        504,
        body("Timeout: request did not complete within the allotted timeout", "Timeout"),
        CREATE_JOB,
        errors.Unreachable,
        ["504"],
    ),
    (
        413,
        body("Request entity too large: limit is 3145728", "RequestEntityTooLarge"),
        CREATE_JOB,
        errors.Invalid,
        ["too large"],
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[3].__name__} {row[4][0]}")
def test_an_answer_is_a_message(
    row: tuple[int, Optional[str], Request, type[errors.KubernetesError], list[str]],
) -> None:
    code, text, request, kind, wanted = row
    error = explain(code, text, request)
    assert error.__class__ is kind, error
    for part in wanted:
        assert part in str(error)
    assert "\n" not in str(error) and '{"' not in str(error)


def test_a_template_is_not_repeated() -> None:
    message = "Invalid value: {" + "x" * 5000 + "}: field is immutable"
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": "spec.template"}]
    assert (
        len(str(explain(422, body(f"Job.batch b is invalid: {message}", "Invalid", causes=causes), CREATE_JOB))) < 400
    )


def test_a_missing_right_is_the_line_to_paste() -> None:
    error = explain(403, body(RBAC, "Forbidden"), CREATE_JOB)
    assert isinstance(error, errors.Forbidden)
    assert str(error).endswith(
        "- {apiGroups: [batch], resources: [jobs], verbs: [create]}"
    )  # a name cannot narrow create
    message = (
        'pods "db-0" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "shop"'
    )
    log = explain(403, body(message, "Forbidden"), Request("get", KINDS["Pod"], "db-0", "shop", "log"))
    assert str(log).endswith('- {apiGroups: [""], resources: [pods/log], verbs: [get], resourceNames: [db-0]}')
    message = 'storageclasses.storage.k8s.io is forbidden: User "u" cannot list resource "storageclasses" in API group "storage.k8s.io" at the cluster scope'
    cluster = explain(403, body(message, "Forbidden"), Request("list", KINDS["StorageClass"]))
    assert isinstance(cluster, errors.Forbidden) and cluster.namespace == ""
    assert (
        "a ClusterRole that is bound to it: - {apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [list]}"
        in str(cluster)
    )


def _wrapped(exc: BaseException) -> BaseException:
    """As urllib3 hands it on."""

    class MaxRetryError(Exception):
        def __init__(self, reason: BaseException) -> None:
            super().__init__(f"Max retries exceeded (Caused by {reason!r})")
            self.reason = reason

    return MaxRetryError(exc)


def _verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    exc = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {message}")
    exc.verify_code, exc.verify_message = code, message
    return exc


@pytest.mark.parametrize(
    ("exc", "later", "sent", "wanted"),
    [
        (ConnectionRefusedError(111, "Connection refused"), True, False, "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), True, False, "cannot be resolved"),
        (TimeoutError("timed out"), True, True, "did not answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), True, True, "broke"),
        (OSError(113, "No route to host"), True, True, "no route"),
        (_verification(20, "unable to get local issuer certificate"), False, False, "kubernetes.ca_cert"),
        (
            _verification(62, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
            False,
            False,
            "another name",
        ),
        (_verification(10, "certificate has expired"), False, False, "clock is wrong"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), False, False, "speaks no TLS"),
        (
            ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca"),
            False,
            False,
            "refuses the client certificate",
        ),
        (FileNotFoundError(2, "No such file"), False, False, "kubernetes.ca_cert"),
    ],
    ids=str,
)
def test_no_answer_is_a_message(exc: BaseException, later: bool, sent: bool, wanted: str) -> None:
    error = explain_no_answer(_wrapped(exc), GET_POD)
    assert isinstance(error, errors.Unreachable) is later and wanted in str(error)
    if isinstance(error, errors.Unreachable):
        assert error.sent is sent
