# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets of S3: made, and set up so that backups are safe there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import lifecycle
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.client import describe, make_client
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.errors import code_of, explain

# What stores answer to a rule with sizes who know none.
_NO_SIZES = ("MalformedXML", "NotImplemented", "InvalidRequest", "InvalidArgument")
_BLOCK = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def arrange(options: Mapping[str, Any], request: BucketRequest) -> list[Step]:
    """The steps that make the bucket as wished; none when it is so already.

    Raises:
        RepositoryError: the store refuses to tell, or the request cannot be met any more.
    """
    client, bucket = make_client(options, 1), options["bucket"]

    def ask(operation: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(client, operation)(Bucket=bucket)
            return answer
        except Exception as exc:
            if code_of(exc).startswith("NoSuch") or code_of(exc).endswith(("NotFound", "NotFoundError", "404")):
                return {}
            raise explain(f"{operation} of", exc, options, describe(options)) from exc

    try:
        client.head_bucket(Bucket=bucket)
        exists = True
    except Exception as exc:
        exists = code_of(exc) not in ("404", "NoSuchBucket")
        if exists:
            raise explain(f"look at {describe(options)}", exc, options, describe(options)) from exc
    steps = [] if exists else [Step(f"make the bucket {bucket}", lambda: _make(client, options, request))]
    if request.object_lock and exists and not ask("get_object_lock_configuration"):
        raise RepositoryError(
            f"{describe(options)} was made without object lock, which most stores cannot add. Make another bucket with it, and "
            "move the backups there by holdfast.postgres.backup_copy."
        )
    versioned = exists and ask("get_bucket_versioning").get("Status") == "Enabled"
    if request.versioning is not None and request.versioning != versioned and not (request.object_lock and not exists):
        status = {"Status": "Enabled" if request.versioning else "Suspended"}
        if request.versioning or exists:
            message = f"{'keep' if request.versioning else 'no longer keep'} versions in {bucket}"
            steps.append(
                Step(message, lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status))
            )
    if request.encryption and _encryption(ask("get_bucket_encryption") if exists else {}) != request.encryption:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": request.encryption}}
        config = {"Rules": [rule]}
        steps.append(
            Step(
                f"encrypt {bucket} by default with {request.encryption}",
                lambda: client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=config),
            )
        )
    if request.block_public_access:
        now = (ask("get_public_access_block") if exists else {}).get("PublicAccessBlockConfiguration", {})
        if not all(now.get(name) for name in _BLOCK):
            block = dict.fromkeys(_BLOCK, True)
            steps.append(
                Step(
                    f"block public access to {bucket}",
                    lambda: client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block),
                )
            )
    rules = (ask("get_bucket_lifecycle_configuration") if exists else {}).get("Rules", [])
    others = [rule for rule in rules if rule.get("ID") not in lifecycle.names(options["prefix"])]
    own = lifecycle.rules(options["prefix"], request, rules)
    if lifecycle.plain(own) != lifecycle.plain([rule for rule in rules if rule not in others]):
        steps.append(
            Step(
                f"lifecycle rules of {bucket}: {'; '.join(lifecycle.describe(request)) or 'none of ours'}",
                lambda: _put_rules(client, bucket, others, own),
            )
        )
    return steps


def _make(client: Any, options: Mapping[str, Any], request: BucketRequest) -> None:
    region = client.meta.region_name
    where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
    lock = {"ObjectLockEnabledForBucket": True} if request.object_lock else {}
    client.create_bucket(Bucket=options["bucket"], **where, **lock)


def _put_rules(client: Any, bucket: str, others: list[lifecycle.Rule], own: list[lifecycle.Rule]) -> Optional[str]:
    """Lay down all rules. Returns a warning where the store moves small objects too."""
    if not others and not own:
        client.delete_bucket_lifecycle(Bucket=bucket)
        return None

    def put(wanted: list[lifecycle.Rule]) -> None:
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*others, *wanted]})

    sized = [rule["ID"] for rule in own if lifecycle.sized(rule)]
    try:
        put(own)
    except Exception as exc:
        if code_of(exc) not in _NO_SIZES or not sized:
            raise
        put([lifecycle.unsized(rule) for rule in own])
    stored = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    if all(lifecycle.sized(rule) for rule in stored if rule.get("ID") in sized):
        return None
    return (
        f"The bucket {bucket} moves manifests to another class too, as its store knows no rules by size. A backup whose "
        "manifest cannot be read at once is not listed: let transitions name classes alone that can."
    )


def _encryption(answer: Mapping[str, Any]) -> Optional[str]:
    for rule in answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ()):
        algorithm: Optional[str] = rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm")
        return algorithm
    return None


def policy(options: Mapping[str, Any]) -> dict[str, Any]:
    """The IAM policy of least privilege for a writer of backups: its prefix alone, and of the bucket only what is asked.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
    """
    prefix = f"{options['prefix'].strip('/')}/" if options["prefix"].strip("/") else ""
    bucket = f"arn:aws:s3:::{options['bucket']}"
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    objects += ["s3:PutObjectTagging"] if options.get("tags") else []
    objects += ["s3:PutObjectRetention", "s3:GetObjectRetention"] if options.get("object_lock") else []
    limited = {"Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}}} if prefix else {}
    looks = ["s3:GetBucketVersioning", "s3:GetLifecycleConfiguration", "s3:GetBucketObjectLockConfiguration"]
    looks += [
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketAcl",
        "s3:GetEncryptionConfiguration",
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket], **limited},
            {"Sid": "Uploads", "Effect": "Allow", "Action": ["s3:ListBucketMultipartUploads"], "Resource": [bucket]},
            {"Sid": "Objects", "Effect": "Allow", "Action": objects, "Resource": [f"{bucket}/{prefix}*"]},
            {"Sid": "Preflight", "Effect": "Allow", "Action": looks, "Resource": [bucket]},
        ],
    }
