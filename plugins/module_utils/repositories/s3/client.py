# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of boto3, by the options."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.libraries import BOTO3
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import ca_file
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.errors import explain, is_silence


def describe(options: Mapping[str, Any]) -> str:
    """What messages call the store."""
    endpoint = options.get("endpoint_url") or _ambient()
    return f"s3://{options['bucket']}" + (f" at {endpoint}" if endpoint else "")


def _ambient() -> Optional[str]:
    """The address that the environment gives to boto3, which users should see where they did not write it. From 1.28 on."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def make_client(options: Mapping[str, Any], concurrency: int) -> Any:
    """A boto3 client of the options' store.

    Raises:
        RepositoryError: boto3 is missing, or the options' profile, role or files are no good.
    """
    BOTO3.demand("s3")
    import boto3
    import botocore.exceptions
    from botocore.config import Config

    wanted: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "connect_timeout": 10,
        "read_timeout": store.SILENCE,
        "max_pool_connections": max(64, concurrency + 4),  # opened only when there is use for them
        "s3": {"addressing_style": options.get("addressing_style") or "auto"},
    }
    if options.get("request_checksum_calculation"):
        wanted["request_checksum_calculation"] = options["request_checksum_calculation"]
        wanted["response_checksum_validation"] = options["request_checksum_calculation"]
    verify: Any = ca_file(options) or (None if options.get("validate_certs", True) else False)
    try:
        config = Config(**wanted)
    except TypeError:  # botocore older than 1.36 knows no such checksums: it sends none
        for name in ("request_checksum_calculation", "response_checksum_validation"):
            wanted.pop(name, None)
        config = Config(**wanted)
    _check_endpoint(options)
    keys = {
        "aws_access_key_id": options.get("access_key"),
        "aws_secret_access_key": options.get("secret_key"),
        "aws_session_token": options.get("session_token"),
    }
    given = {name: value for name, value in keys.items() if value}
    if len(given) == 1 or ("aws_session_token" in given and len(given) < 3):
        raise BadOption(
            "repository.access_key",
            options.get("access_key"),
            "and repository.secret_key belong together",
            "Give both.",
        )
    try:
        session = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region"), **given)
        if options.get("role_arn"):
            session = _assume(session, options, verify)
        # A region has to be named even to stores that have none.
        region = session.region_name or ("us-east-1" if options.get("endpoint_url") else None)
        client = session.client(
            "s3", endpoint_url=options.get("endpoint_url"), region_name=region, config=config, verify=verify
        )
        client.meta.events.register_first("needs-retry.s3", _give_up_in_silence)
        return client
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError, OSError) as exc:
        raise explain("use", exc, options, f"s3://{options['bucket']}") from exc


def _check_endpoint(options: Mapping[str, Any]) -> None:
    """Raise BadOption: it is no address of a store, or has the bucket in it, which would then be asked for twice."""
    endpoint = options.get("endpoint_url")
    if not endpoint:
        return
    found = urllib.parse.urlsplit(endpoint)
    if found.scheme not in ("http", "https") or not found.hostname:
        raise BadOption(
            "repository.endpoint_url",
            endpoint,
            "is no address",
            "Begin it with https:// (or http://), then the host's name.",
        )
    bucket = str(options["bucket"])
    # (A host may well have the bucket's name: only what is surely Amazon's way of writing both is a slip.)
    if found.hostname.startswith((f"{bucket}.s3.", f"{bucket}.s3-")) or found.path.strip("/") == bucket:
        raise BadOption(
            "repository.endpoint_url",
            endpoint,
            f"has the bucket {bucket} in it",
            "Leave it out there: bucket says it already.",
        )


class Condition:
    """Lets a PutObject go out on a condition, as a header: versions of boto3 before 1.35.70 know only some of these by name."""

    def __init__(self, client: Any) -> None:
        self._header = threading.local()
        client.meta.events.register("before-call.s3.PutObject", self._add)

    @contextlib.contextmanager
    def of(self, name: str, value: str) -> Iterator[None]:
        """What this thread puts within the block has the header."""
        self._header.now = (name, value)
        try:
            yield
        finally:
            self._header.now = None

    def _add(self, params: dict[str, Any], **_more: object) -> None:
        header = getattr(self._header, "now", None)
        if header:
            params["headers"][header[0]] = header[1]


def _give_up_in_silence(caught_exception: Optional[Exception] = None, **_more: object) -> None:
    """A handler of ``needs-retry``: botocore would wait for who does not answer three times as long."""
    if is_silence(caught_exception):
        raise caught_exception  # type: ignore[misc]


def _assume(session: Any, options: Mapping[str, Any], verify: Any) -> Any:
    """A session of the role ``role_arn``, whose credentials renew themselves: a long backup outlives an hour."""
    import boto3
    import botocore.credentials
    import botocore.session

    sts = session.client("sts", verify=verify, endpoint_url=options.get("sts_endpoint_url"))
    extra = {"ExternalId": options["external_id"]} if options.get("external_id") else {}

    def renew() -> dict[str, str]:
        got = sts.assume_role(RoleArn=options["role_arn"], RoleSessionName="holdfast.postgres", **extra)["Credentials"]
        return {
            "access_key": got["AccessKeyId"],
            "secret_key": got["SecretAccessKey"],
            "token": got["SessionToken"],
            "expiry_time": got["Expiration"].isoformat(),
        }

    core = botocore.session.get_session()
    core._credentials = botocore.credentials.RefreshableCredentials.create_from_metadata(
        renew(), renew, "sts-assume-role"
    )
    core.set_config_variable("region", session.region_name)
    return boto3.Session(botocore_session=core)


def customer_key(text: str) -> bytes:
    """The 32 bytes of an SSE-C key, which is written in base64. Raises BadOption."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadOption(
            "repository.sse_customer_key", "(hidden)", "is not 32 bytes in base64", "Make one: openssl rand -base64 32."
        )
    return key
