# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudNativePG's plugin for object stores (plugin-barman-cloud) in a cluster in which the operator runs, out of the manifest of its release; and a
Cluster that archives by it. Certificates are made here, as there is no cert-manager."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import cloudnative_pg, images, oci
from .parts import BARMAN_PLUGIN, POSTGRES_LAYER, PYTHON_LAYER
from .settings import VERSIONS

if TYPE_CHECKING:
    from .images import Containerd
    from .running import Starter

_VERSION = VERSIONS["BARMAN_PLUGIN_VERSION"]
IMAGE, SIDECAR = f"localhost/barman-plugin:{_VERSION}", f"localhost/barman-sidecar:{_VERSION}"
API = "barmancloud.cnpg.io/v1"
NAME = "barman-cloud.cloudnative-pg.io"
_NAMESPACE = "cnpg-system"


def start(starter: Starter, containerd: Containerd) -> None:
    """Images, definitions, plugin; until it answers. What is there already stays. Raises DidNotStart."""
    containerd.load(both())
    wanted = ("wait", "--for=condition=Available", "deployment/barman-cloud", "-n", _NAMESPACE, "--timeout=1s")
    if starter.kubectl(*wanted):
        return
    # Certificates that are made anew under a plugin that runs are none to it.
    secrets = [
        json.dumps(_certificate(*one)) for one in (("server", "barman-cloud"), ("client", "barman-cloud-client"))
    ]
    starter.apply("\n---\n".join([*secrets, manifest((BARMAN_PLUGIN.path / "manifest.yaml").read_text())]))
    starter.wait("CloudNativePG's Barman plugin", 120, lambda: starter.kubectl(*wanted))


def both() -> list[oci.Image]:
    """The plugin's own, and what it puts beside PostgreSQL: barman-cloud and the program again."""
    program = BARMAN_PLUGIN.path / "layer.tar"
    environment = {"PATH": images.PATH, "LANG": "C.UTF-8"}
    beside = (POSTGRES_LAYER.path / "layer.tar", PYTHON_LAYER.path / "layer.tar", program)
    return [
        oci.Image(IMAGE, (program,), user="10001", entrypoint=("/manager",)),
        oci.Image(SIDECAR, beside, user="26", environment=environment, entrypoint=("/manager",)),
    ]


def manifest(text: str) -> str:
    """The release's, with our images, without what is cert-manager's (pure)."""
    import yaml

    documents = []
    for document in text.split("\n---\n"):
        if "apiVersion: cert-manager.io/" in document:
            continue
        if "\nkind: Secret\n" in document:
            whole = yaml.safe_load(document)
            whole["data"] = {"SIDECAR_IMAGE": base64.b64encode(SIDECAR.encode()).decode()}
            document = json.dumps(whole)
        elif "\nkind: Deployment\n" in document:
            whole = yaml.safe_load(document)
            (container,) = whole["spec"]["template"]["spec"]["containers"]
            container.update(image=IMAGE, imagePullPolicy="IfNotPresent")
            container["args"] = [one for one in container["args"] if one not in ("--leader-elect", "--log-level=debug")]
            container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=1)
            document = json.dumps(whole)
        documents.append(document)
    return "\n---\n".join(documents)


def _certificate(name: str, common: str) -> dict[str, Any]:
    """A Secret with a key and a certificate that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    data = {"tls.key": private.decode(), "tls.crt": public.decode(), "ca.crt": public.decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": f"barman-cloud-{name}-tls", "namespace": _NAMESPACE},
        "stringData": data,
    }


def archiving(name: str, bucket: Mapping[str, Any], **spec: Any) -> list[dict[str, Any]]:
    """A Cluster that archives into a bucket by the plugin, its ObjectStore, and the Secret that it needs."""
    secret, made = cloudnative_pg.archiving(name, bucket)
    configuration = made["spec"].pop("backup")["barmanObjectStore"]
    store = {
        "apiVersion": API,
        "kind": "ObjectStore",
        "metadata": {"name": f"{name}-store"},
        "spec": {"configuration": configuration},
    }
    plugin = {"name": NAME, "isWALArchiver": True, "parameters": {"barmanObjectName": f"{name}-store"}}
    made["spec"].update({"plugins": [plugin], "imageName": images.POSTGRES, **spec})
    return [secret, store, made]
