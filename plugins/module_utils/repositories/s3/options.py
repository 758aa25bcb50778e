# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a bucket of S3."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import MOVING, StoreOptions

OPTIONS = StoreOptions(
    spec={
        "bucket": {"type": "str"},
        "region": {"type": "str"},
        "access_key": {"type": "str", "no_log": False},
        "secret_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "profile": {"type": "str"},
        "role_arn": {"type": "str"},
        "external_id": {"type": "str"},
        "sts_endpoint_url": {"type": "str"},
        "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
        "sse": {"type": "str", "choices": ["AES256", "aws:kms"]},
        "sse_kms_key_id": {"type": "str"},
        "sse_customer_key": {"type": "str", "no_log": True},
        "object_lock": {"type": "str", "choices": ["governance", "compliance"]},
        "object_lock_for": {"type": "str"},
        "tags": {"type": "dict"},
        "request_checksum_calculation": {"type": "str", "choices": ["when_supported", "when_required"]},
        **MOVING,
    },
    required=("bucket",),
    # What the keys of Kubernetes secrets for backups are called, by CloudNativePG, Velero and the vendors' guides.
    credentials={
        "access_key": ("AWS_ACCESS_KEY_ID", "ACCESS_KEY_ID", "aws_access_key_id", "accessKey"),
        "secret_key": (
            "AWS_SECRET_ACCESS_KEY",
            "ACCESS_SECRET_KEY",
            "SECRET_ACCESS_KEY",
            "aws_secret_access_key",
            "secretKey",
        ),
        "session_token": ("AWS_SESSION_TOKEN", "ACCESS_SESSION_TOKEN"),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "endpoint_url": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    },
)
