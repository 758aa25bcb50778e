# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and kubeconfigs of one cluster."""

from __future__ import annotations

import base64
import ipaddress
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from .settings import API_SERVER, API_SERVICE, NODE, NODE_ADDRESS

#: Name of the kubeconfig: organization or None, common name.
USERS: dict[str, tuple[str | None, str]] = {
    "admin": ("system:masters", "admin"),
    "addons": ("system:masters", "addons"),
    "controller-manager": (None, "system:kube-controller-manager"),
    "scheduler": (None, "system:kube-scheduler"),
    "kubelet": ("system:nodes", f"system:node:{NODE}"),
    "proxy": (None, "system:kube-proxy"),
}
_SERVICE = "kubernetes.default.svc.cluster.local"
#: Name of the certificate: organization, common name, DNS names, addresses.
SERVERS: dict[str, tuple[str | None, str, list[str], list[str]]] = {
    "apiserver": (
        None, "kube-apiserver",
        ["localhost", *(_SERVICE.rsplit(".", dots)[0] for dots in (4, 3, 2)), _SERVICE], ["127.0.0.1", NODE_ADDRESS, API_SERVICE],
    ),
    "kubelet-server": (None, NODE, [NODE], [NODE_ADDRESS]),
    "apiserver-kubelet": ("system:masters", "apiserver-kubelet-client", [], []),
}  # fmt: skip


def make(directory: Path, kubeconfigs: Path) -> None:
    """All keys and certificates into a directory, NAME.conf for each user into another."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    directory.mkdir(parents=True, mode=0o700)
    now = datetime.now(timezone.utc)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab-ca")])

    def write(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate | None = None) -> None:
        path = directory / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        if certificate:
            (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def usage(authority: bool) -> x509.KeyUsage:
        return x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(authority_name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
        )  # fmt: skip

    authority = (
        builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write("ca", authority_key, authority)
    write("sa", ec.generate_private_key(ec.SECP256R1()))  # signs service accounts' tokens

    def issue(name: str, organization: str | None, common: str, dns: list[str], addresses: list[str]) -> None:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(item) for item in dns]
        names += [x509.IPAddress(ipaddress.ip_address(item)) for item in addresses]
        made = builder(x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)]), key)
        made = made.add_extension(usage(authority=False), critical=True).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        # Python 3.13 refuses certificates without these two.
        made = made.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        write(name, key, made.sign(authority_key, hashes.SHA256()))

    for name, server in SERVERS.items():
        issue(name, *server)
    for name, (organization, common) in USERS.items():
        issue(name, organization, common, [], [])
        key, certificate = ((directory / f"{name}.{end}").read_bytes() for end in ("key", "crt"))
        user = {"client-certificate-data": _text(certificate), "client-key-data": _text(key)}
        kubeconfig(kubeconfigs / f"{name}.conf", name, user, (directory / "ca.crt").read_bytes())


def kubeconfig(
    path: Path, user: str, credentials: dict[str, str], authority: bytes, server: str = API_SERVER, namespace: str = ""
) -> None:
    """Write one, for its owner alone. (JSON is YAML.)"""
    context = {"cluster": "lab", "user": user, **({"namespace": namespace} if namespace else {})}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": _text(authority)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
