# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a bucket of Google Cloud Storage."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import MOVING, StoreOptions

OPTIONS = StoreOptions(
    spec={
        "bucket": {"type": "str"},
        "region": {"type": "str"},
        "credentials_file": {"type": "path"},
        "project": {"type": "str"},
        **MOVING,
    },
    required=("bucket",),
    # What the keys of Kubernetes secrets for backups are called, by CloudNativePG, Velero and the vendors' guides.
    credentials={
        "credentials_file": ("GOOGLE_APPLICATION_CREDENTIALS",),
        "project": ("GOOGLE_CLOUD_PROJECT",),
    },
)
