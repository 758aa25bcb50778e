# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a container of Azure Blob Storage."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import MOVING, StoreOptions

OPTIONS = StoreOptions(
    spec={
        "container": {"type": "str"},
        "account": {"type": "str"},
        "account_key": {"type": "str", "no_log": True},
        "connection_string": {"type": "str", "no_log": True},
        "sas_token": {"type": "str", "no_log": True},
        "sas_token_file": {"type": "path", "no_log": False},
        "client_id": {"type": "str"},
        "tags": {"type": "dict"},
        **MOVING,
    },
    required=("container",),
    # What the keys of Kubernetes secrets for backups are called, by CloudNativePG, Velero and the vendors' guides.
    credentials={
        "account": ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME", "azurestorageaccountname"),
        "account_key": ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "azurestorageaccountkey"),
        "sas_token": ("AZURE_STORAGE_SAS_TOKEN",),
        "connection_string": ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_CONNECTION_STRING"),
    },
)
