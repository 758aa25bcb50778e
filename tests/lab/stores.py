# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throwaway object stores: real servers, on 127.0.0.1 and a free port, gone without a trace when the process ends.

Each is a context manager, and `missing()` of its class tells why it cannot run here (None when it can).
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from .servers import free_port

__all__ = [
    "AzureServer",
    "CephServer",
    "Certificate",
    "GcsServer",
    "S3Server",
    "ceph_available",
    "certificate",
    "or_skip",
]

DEADLINE = 30.0
REGION = "us-east-1"
# Where tests/tools/install_stores.sh puts Azurite.
AZURITE = Path(__file__).resolve().parents[2] / ".work/azurite/node_modules/.bin/azurite-blob"
# Azurite's only account, as its documentation prints it.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

# Waits for the end of its standard input, which comes when this process ends, however it ends.
REAPER = 'read -r _; kill -s TERM -- "-$1"; sleep 2; kill -s KILL -- "-$1"; rm -rf "$2"'

# moto's own server program speaks no TLS that all clients like; gunicorn does.
MOTO_APPLICATION = """\
from moto.server import DomainDispatcherApplication, create_backend_app

application = DomainDispatcherApplication(create_backend_app)
"""

CEPH_CONFIGURATION = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = v2:127.0.0.1:{mon_port}
public network = 127.0.0.0/8
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {directory}/keyring
run dir = {directory}
admin socket = {directory}/$cluster-$name.asok
log file = {directory}/$name.log
# One osd holds the only copy, and small pools are enough for it.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data = {directory}/mon
# The disk of the machine is not the store's.
mon data avail warn = 1
mon data avail crit = 0
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = {capacity}
osd memory target = 939524096
ms bind ipv6 = false
debug ms = 0/0
debug osd = 0/0
debug rgw = 0/0
# Else the last part of each small answer waits 40 ms for the acknowledgement of the one before.
rgw frontends = beast {endpoint} tcp_nodelay=1
rgw crypt require ssl = false
rgw enable usage log = false
rgw run sync thread = false
rgw thread pool size = 32
# Memory is short: what was deleted goes soon, and not in two hours.
rgw gc obj min wait = 2
rgw gc processor period = 2
"""


# Certificates


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: who is to be trusted, and what the server shows."""

    ca: Path
    cert: Path
    key: Path


def certificate(directory: Path, *addresses: str) -> Certificate:
    """A throwaway authority and a certificate of it for localhost, 127.0.0.1, ::1 and further addresses, as files in a directory."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"lab authority {secrets.token_hex(4)}")])
    now = datetime.now(timezone.utc)

    def build(subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=is_ca,
                    crl_sign=is_ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            # Python 3.13 refuses certificates without these two.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(item)) for item in sorted({"127.0.0.1", "::1", *addresses})),
    ]
    ca = build(ca_name, ca_key, True).sign(ca_key, hashes.SHA256())
    server = (
        build(server_name, server_key, False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.cert.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made


# Processes


class _Process:
    """A program that runs until told to end, with all that it started; its words go to a file."""

    def __init__(self, arguments: list[str], directory: Path, log: Path, env: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as output:
            # A session of its own is a process group of its own, which is ended as one.
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self._reaper = subprocess.Popen(
            ["/bin/sh", "-c", REAPER, "lab-reaper", str(self._process.pid), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        # The reaper first: afterwards the number may be another process's.
        self._reaper.kill()
        if self._reaper.stdin:
            self._reaper.stdin.close()
        self._reaper.wait()
        if self.running():
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        with suppress(ProcessLookupError):  # what is left of the group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class _Store:
    """What all stores have in common: a directory, a port, perhaps a certificate, and an end."""

    name = "store"

    def __init__(self, *, tls: bool = False, address: str = "127.0.0.1") -> None:
        reason = self.missing()
        if reason:
            raise LookupError(reason)
        self._stack = ExitStack()
        self._processes: list[_Process] = []
        self.directory = Path(tempfile.mkdtemp(prefix="store-", dir="/tmp"))
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        # Programs of other users read the authority's certificate here; the key stays its owner's.
        self.directory.chmod(0o755)
        self.log = self.directory / "log"
        self.address = address
        self.port = free_port(address)
        self.certificate = certificate(self.directory, address) if tls else None
        self.scheme = "https" if tls else "http"
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{self.name} on port {self.port} in {self.directory}>"

    def __exit__(self, *error: object) -> None:
        self.close()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None when it can."""
        raise NotImplementedError

    @property
    def ca_file(self) -> Path | None:
        """Whom clients have to trust; None without TLS."""
        return self.certificate.ca if self.certificate else None

    def close(self) -> None:
        """End the server and delete its directory; harmless when repeated."""
        self._stack.close()

    def _start(self) -> None:
        raise NotImplementedError

    def _run(self, arguments: list[str], env: Mapping[str, str] | None = None) -> None:
        process = _Process(arguments, self.directory, self.log, env)
        self._processes.append(process)
        self._stack.callback(process.stop)

    def _context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None

    def _wait(self) -> None:
        """Until it answers, whatever it answers."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                with urllib.request.urlopen(self._base(), timeout=5, context=self._context()):
                    return
            except urllib.error.HTTPError:
                return
            except OSError as error:
                if not all(process.running() for process in self._processes):
                    raise RuntimeError(f"{self!r} ended at once:\n{self._tail()}") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self!r} does not answer ({error}):\n{self._tail()}") from None
                time.sleep(0.05)

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def _base(self) -> str:
        return f"{self.scheme}://{self.address}:{self.port}/"

    def _post(self, path: str, body: bytes, content_type: str) -> None:
        request = urllib.request.Request(
            self._base() + path, data=body, headers={"Content-Type": content_type}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30, context=self._context()):
            pass


def _missing_packages(*modules: str) -> str | None:
    lacking = [name for name in modules if not _importable(name)]
    return f"not installed in this Python: {', '.join(lacking)} (make setup)" if lacking else None


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


# S3


class _S3(_Store):
    """A store that speaks S3, whose users have keys and policies."""

    region = REGION
    checksums = "when_supported"  # boto3's default
    access_key: str
    secret_key: str

    @property
    def endpoint_url(self) -> str:
        return f"{self.scheme}://{'localhost' if self.address == '127.0.0.1' else self.address}:{self.port}"

    def client(
        self,
        access_key: str | None = None,
        secret_key: str | None = None,
        *,
        ca_file: Path | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """A boto3 client, of the user who may do all, unless told otherwise. (Typed Any: boto3 has no types.)"""
        return self._client("s3", access_key or self.access_key, secret_key or self.secret_key, ca_file, endpoint_url)

    def make_bucket(self, name: str, **options: Any) -> str:
        """A new bucket; options are those of boto3, such as ObjectLockEnabledForBucket=True."""
        self.client().create_bucket(Bucket=name, **options)
        return name

    def user(self, policy: Mapping[str, Any]) -> tuple[str, str]:
        """The access key and the secret key of a new user who may do what a policy allows, and nothing else."""
        raise NotImplementedError

    def _client(
        self,
        service: str,
        access_key: str,
        secret_key: str,
        ca_file: Path | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        settings = importlib.import_module("botocore.config").Config(
            # Names like bucket.localhost do not resolve everywhere.
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1},
            connect_timeout=10,
            read_timeout=30,
            request_checksum_calculation=self.checksums,
            response_checksum_validation=self.checksums,
        )
        # A session of its own: boto3's default one is not safe to make clients of in several threads.
        return (
            importlib.import_module("boto3")
            .session.Session()
            .client(
                service,
                endpoint_url=endpoint_url or self.endpoint_url,
                region_name=self.region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                verify=str(ca_file or self.ca_file) if self.certificate else None,
                config=settings,
            )
        )


class S3Server(_S3):
    """moto: conditional puts, versions, object lock, multipart uploads, and users who are asked for their keys."""

    name = "moto"

    def __init__(self, *, tls: bool = True, address: str = "127.0.0.1") -> None:
        super().__init__(tls=tls, address=address)

    def __enter__(self) -> S3Server:
        return self

    @classmethod
    def missing(cls) -> str | None:
        return _missing_packages("moto", "flask", "gunicorn", "boto3", "cryptography")

    def user(self, policy: Mapping[str, Any]) -> tuple[str, str]:
        name = f"user-{secrets.token_hex(4)}"
        iam = self._client("iam", *self._operator)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="lab", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def _start(self) -> None:
        (self.directory / "motowsgi.py").write_text(MOTO_APPLICATION)
        tls = self.certificate
        # One worker, as all state is in its memory; threads, as a slow upload must not keep others waiting.
        self._run(
            [
                *(sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "16", "-w", "1"),
                *("-b", f"{self.address}:{self.port}", "--keep-alive", "30", "--graceful-timeout", "0"),
                *(("--certfile", str(tls.cert), "--keyfile", str(tls.key)) if tls else ()),
                "motowsgi:application",
            ]
        )
        self._wait()
        # Nobody is asked for a key until there are users and this call says so.
        self._operator = ("nobody-yet", "nobody-yet")
        self._operator = self.user(_allow("*"))
        self.access_key, self.secret_key = self.user(_allow("s3:*"))
        self._post("moto-api/reset-auth", b"0", "text/plain")


def _allow(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


# Ceph


def ceph_available() -> bool:
    """Are Ceph's programs here? Nothing but `CephServer.missing`, as a yes or no."""
    return CephServer.missing() is None


class CephServer(_S3):
    """Ceph's own S3 gateway, on one monitor and one osd in memory: signatures, policies, SSE-C, lifecycles."""

    name = "Ceph"
    checksums = "when_required"  # version 16 refuses boto3's default ones

    def __init__(self, *, tls: bool = False, capacity: int = 1024**3) -> None:
        self._capacity = capacity  # bytes, taken from the machine's memory as they are written
        super().__init__(tls=tls)

    def __enter__(self) -> CephServer:
        return self

    @classmethod
    def missing(cls) -> str | None:
        programs = ("ceph", "ceph-mon", "ceph-osd", "ceph-authtool", "radosgw", "radosgw-admin")
        lacking = [name for name in programs if shutil.which(name) is None]
        if lacking:
            return (
                f"not installed: {', '.join(lacking)} (Debian: apt-get install radosgw ceph-mon ceph-osd ceph-common)"
            )
        return _missing_packages("boto3", "cryptography")

    def user(self, policy: Mapping[str, Any]) -> tuple[str, str]:
        name = f"user-{secrets.token_hex(4)}"
        # Ceph's users may do all with buckets of their own; so these may have none.
        keys = self._add_user(name, "--max-buckets=-1")
        iam = self._client("iam", self.access_key, self.secret_key)
        iam.put_user_policy(UserName=name, PolicyName="lab", PolicyDocument=json.dumps(policy))
        return keys

    def _start(self) -> None:
        self._conf = self.directory / "ceph.conf"
        mon_port, tls = free_port(), self.certificate
        endpoint = f"endpoint=127.0.0.1:{self.port}"
        if tls:
            endpoint = f"ssl_{endpoint} ssl_certificate={tls.cert} ssl_private_key={tls.key}"
        self._conf.write_text(
            CEPH_CONFIGURATION.format(
                fsid=uuid.uuid4(),
                directory=self.directory,
                endpoint=endpoint,
                mon_port=mon_port,
                capacity=self._capacity,
            )
        )
        keyring = str(self.directory / "keyring")
        self._tool("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        rights = [part for daemon in ("mon", "osd", "mds", "mgr") for part in ("--cap", daemon, "allow *")]
        self._tool("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *rights)
        monmap = str(self.directory / "monmap")
        fsid = self._tool("ceph-conf", "--lookup", "fsid").strip()
        self._tool("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap)
        for part in ("mon", "osd"):
            (self.directory / part).mkdir()
        self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._daemon("ceph-mon", "-f", "-i", "a")
        osd = str(uuid.uuid4())
        self._tool("ceph", "osd", "new", osd)
        self._tool(
            *("ceph", "auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *"),
            *("-o", str(self.directory / "osd/keyring")),
        )
        self._tool("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--keyring", str(self.directory / "osd/keyring"))
        self._daemon("ceph-osd", "-f", "-i", "0", "--keyring", str(self.directory / "osd/keyring"))
        # As the administrator of the cluster, which is the only one who uses it.
        self._daemon("radosgw", "-f", "-n", "client.admin")
        self._wait()
        self.access_key, self.secret_key = self._add_user("lab", "--caps=user-policy=*")

    def _add_user(self, name: str, *options: str) -> tuple[str, str]:
        made = json.loads(
            self._tool("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", *options)
        )
        return made["keys"][0]["access_key"], made["keys"][0]["secret_key"]

    def _daemon(self, program: str, *arguments: str) -> None:
        self._run([program, "-c", str(self._conf), *arguments])

    def _tool(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, "-c", str(self._conf), *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout


# Azure


class AzureServer(_Store):
    """Azurite: keys, tokens (SAS) with rights and an end, leases, uploads that do not overwrite."""

    name = "Azurite"
    account = AZURE_ACCOUNT
    account_key = AZURE_KEY

    def __init__(self, *, tls: bool = True, address: str = "127.0.0.1") -> None:
        super().__init__(tls=tls, address=address)

    def __enter__(self) -> AzureServer:
        return self

    @classmethod
    def missing(cls) -> str | None:
        if cls._program() is None or shutil.which("node") is None:
            return "not installed: Azurite (tests/tools/install_stores.sh, which needs node and npm)"
        return _missing_packages("azure.storage.blob", "cryptography")

    @property
    def endpoint_url(self) -> str:
        return f"{self._base()}{self.account}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={self.scheme};AccountName={self.account};AccountKey={self.account_key};"
            f"BlobEndpoint={self.endpoint_url};"
        )

    def client(self, credential: str | Mapping[str, str] | None = None, *, ca_file: Path | None = None) -> Any:
        """A BlobServiceClient with the account's key, or with another key or a token."""
        return self._package().BlobServiceClient(
            self.endpoint_url,
            credential=credential or {"account_name": self.account, "account_key": self.account_key},
            connection_verify=str(ca_file or self.ca_file) if self.certificate else True,
            # Its first pause is 15 seconds.
            retry_total=0,
        )

    def make_container(self, name: str) -> str:
        with self.client() as client:
            client.create_container(name)
        return name

    def sas(self, container: str, permissions: str, expiry: datetime) -> str:
        """A token for a container that allows these things (letters, such as "rl" for reading and listing) until then."""
        blob = self._package()
        token: str = blob.generate_container_sas(
            self.account,
            container,
            account_key=self.account_key,
            permission=blob.ContainerSasPermissions.from_string(permissions),
            expiry=expiry,
        )
        return token

    @staticmethod
    def _package() -> Any:
        return importlib.import_module("azure.storage.blob")

    @staticmethod
    def _program() -> str | None:
        return str(AZURITE) if AZURITE.exists() else shutil.which("azurite-blob")

    def _start(self) -> None:
        tls = self.certificate
        self._run(
            [
                *(str(self._program()), "--blobHost", self.address, "--blobPort", str(self.port)),
                *("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
                *(("--cert", str(tls.cert), "--key", str(tls.key)) if tls else ()),
            ]
        )
        self._wait()


# Google


class GcsServer(_Store):
    """gcp-storage-emulator: uploads that resume. It asks for no key, and ignores if_generation_match=0."""

    name = "gcp-storage-emulator"

    def __init__(self) -> None:
        super().__init__(tls=False)

    def __enter__(self) -> GcsServer:
        return self

    @classmethod
    def missing(cls) -> str | None:
        return _missing_packages("gcp_storage_emulator", "google.cloud.storage")

    @property
    def endpoint_url(self) -> str:
        """What the client library wants in STORAGE_EMULATOR_HOST."""
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> str:
        self._post("storage/v1/b?project=lab", json.dumps({"name": name}).encode(), "application/json")
        return name

    def client(self) -> Any:
        """A client of google-cloud-storage."""
        return importlib.import_module("google.cloud.storage").Client(
            project="lab",
            credentials=importlib.import_module("google.auth.credentials").AnonymousCredentials(),
            client_options={"api_endpoint": self.endpoint_url},
        )

    def _start(self) -> None:
        command = (sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={self.port}")
        self._run([*command, "--in-memory", "--quiet"])
        self._wait()


# For fixtures


def or_skip(kind: Any, **options: Any) -> Iterator[Any]:
    """A store of a kind, as a fixture yields it; a skip that says why where there can be none."""
    import pytest

    reason = kind.missing()
    if reason:
        pytest.skip(f"{kind.name}: {reason}")
    with kind(**options) as store:
        yield store
