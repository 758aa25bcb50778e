# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object store that is measured against: Ceph's gateway where it is installed, else moto."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from botocore.config import Config
from lab.stores import CephServer, S3Server

from bench.common import CHECKOUT, MIB

AWS = CHECKOUT / ".work/venv-awscli/bin/aws"
CAPACITY = 10 * 1024**3  # bytes that Ceph may take of the machine's memory
BUCKET = "bench"


class Place:
    """A store with one bucket, and the ways into it: ours, boto3's, the CLI's. Plain HTTP where no engine wants TLS, as all
    share the machine's cores."""

    def __init__(self, *, tls: bool = False) -> None:
        others = sessions()
        self.server: CephServer | S3Server = (
            S3Server(tls=tls) if CephServer.missing() else CephServer(tls=tls, capacity=CAPACITY)
        )
        self.server.make_bucket(BUCKET)
        self.name = f"{self.server.name} with TLS" if tls else self.server.name
        self._sessions = sessions() - others
        self._warm()
        self._configuration = self.server.directory / "aws.conf"
        self._configuration.write_text("[default]\ns3 =\n  addressing_style = path\n")

    def _warm(self) -> None:
        """The first object, and the first one in parts, make the store create what it keeps objects in."""
        client, key = self.client(), "warm"
        for _once in range(2):
            upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
            where = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
            part = client.upload_part(**where, PartNumber=1, Body=b"x" * 5 * MIB)
            parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
            client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
            client.delete_object(Bucket=BUCKET, Key=key)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()

    def seconds(self) -> float:
        """The processor time that the store has taken so far."""
        ticks = sum(int(words[11]) + int(words[12]) for words in processes() if words[3] in self._sessions)
        return ticks / os.sysconf("SC_CLK_TCK")

    def options(self, prefix: str) -> dict[str, Any]:
        """The module option `repository`."""
        return {
            "type": "s3",
            "bucket": BUCKET,
            "prefix": prefix,
            "endpoint_url": self.server.endpoint_url,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
            "addressing_style": "path",
            "request_checksum_calculation": "when_required",
            **({"ca_file": str(self.server.ca_file)} if self.server.ca_file else {}),
        }

    def repository(self, prefix: str) -> Repository:
        """The store as the modules have it, within this process."""
        defaults = {name: spec.get("default") for name, spec in STORE.items()}
        return open_repository({**defaults, **self.options(prefix)})

    def client(self, connections: int = 10) -> Any:
        """A boto3 client as a user makes one."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.server.endpoint_url,
            region_name="us-east-1",
            verify=str(self.server.ca_file) if self.server.ca_file else None,
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=connections,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def environment(self) -> dict[str, str]:
        """What the CLI wants."""
        if not AWS.exists():
            raise SystemExit(f"{AWS} is missing: make bench installs it.")
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(self._configuration),
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            **({"AWS_CA_BUNDLE": str(self.server.ca_file)} if self.server.ca_file else {}),
        }


def processes() -> Iterator[list[str]]:
    """Of each process, what proc(5) says behind its name: state, parent, group, session, …, user time, system time, …"""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield stat.read_text().rpartition(")")[2].split()


def sessions() -> set[str]:
    """Those that programs lead which this one started, as the store's do."""
    return {words[3] for words in processes() if words[1] == str(os.getpid())}
