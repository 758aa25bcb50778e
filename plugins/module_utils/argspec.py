# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications that several modules share; each is documented once, in the fragment of the same name."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.retention import policy as retention

Spec = dict[str, Any]

CONNECTION: Spec = {
    "login_host": {"type": "str"},
    "login_unix_socket": {"type": "str"},
    "login_port": {"type": "int"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "ssl_mode": {
        "type": "str",
        "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
    },
    "ca_cert": {"type": "path", "aliases": ["ssl_rootcert"]},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path", "no_log": False},
    "connect_params": {"type": "dict", "default": {}},
    "bin_dir": {"type": "path"},
}

RETENTION: Spec = {"retention": {"type": "dict", "options": retention.SPEC}}

REPOSITORY: Spec = {
    "repository": {"type": "dict", "required": True, "options": STORE},
    "server_name": {"type": "str", "default": "main"},
}

# Several at once; a module that takes these wants exactly one of the two.
REPOSITORIES: Spec = {
    "repository": {"type": "dict", "options": STORE},
    "repositories": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str"}, **RETENTION, **STORE},
    },
    "server_name": {"type": "str", "default": "main"},
}

ENCRYPTION: Spec = {
    "encryption": {
        "type": "dict",
        "options": {
            "method": {"type": "str", "choices": ["none", "aes256", "pgp"], "default": "none"},
            "passphrase": {"type": "str", "no_log": True},
            "passphrase_file": {"type": "path", "no_log": False},
            "recipients": {"type": "list", "elements": "str", "default": []},
            "gpg_home": {"type": "path"},
        },
    },
}

# What makes a backup; the fragment is backup.py, and each module says itself what is recent enough for it.
BACKUP: Spec = {
    "backup_id": {"type": "str", "aliases": ["id"]},
    "max_age": {"type": "str"},
    "annotations": {"type": "dict"},
    "pinned": {"type": "bool"},
    "state_dir": {"type": "path", "default": "~/.local/state/holdfast"},
    "accept_new_repository": {"type": "bool", "default": False},
}

# What an engine of physical backups is told; the fragment is archiver.py.
ARCHIVER: Spec = {
    "config_dir": {"type": "path"},
    "engine_program": {"type": "path"},
    "engine_options": {"type": "dict", "default": {}},
    "accept_new_server": {"type": "bool", "default": False},
}

# What is told to an engine that is only read from; the fragment is archiver.reading.
READING: Spec = {
    "compression": {"type": "str", "choices": ["zstd", "gzip", "lz4", "none"]},
    "compression_level": {"type": "int"},
}

# Of a run, whatever it does; the fragments are run.lock and run.progress.
LOCK: Spec = {"lock_wait": {"type": "int", "default": 0}}
PROGRESS: Spec = {"progress_file": {"type": "path"}}

# The pod that playbooks of ours run in; the fragment is k8s_pod.py.
IN_POD: Spec = {
    "image": {"type": "str"},
    "image_pull_policy": {"type": "str", "choices": ["Always", "IfNotPresent", "Never"]},
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "server_name": {"type": "str", "default": "main"},
    "variables": {"type": "dict", "default": {}, "no_log": True},
    "variables_from": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "variable": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
    "secrets": {"type": "dict", "default": {}, "no_log": False},
    "claims": {"type": "dict", "default": {}},
    "nfs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "server": {"type": "str", "required": True},
            "export": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
        },
    },
    "read_only": {"type": "list", "elements": "str", "default": []},
    "resources": {"type": "dict", "default": {}},
    "run_as_user": {"type": "int"},
    "fs_group": {"type": "int", "default": 1000},
}


def pod(*names: str) -> Spec:
    """The option ``pod``, of a module that makes pods of ours beside a server's: these of the above. The fragments are pod_of_ours.py."""
    return {
        "pod": {
            "type": "dict",
            "required": True,
            "options": {**{name: IN_POD[name] for name in names}, "image": {"type": "str", "required": True}},
        }
    }


# What one takes that lays out data, by a playbook of ours.
LAYING_OUT = (
    "image_pull_policy", "image_pull_secrets", "variables", "variables_from", "secrets", "claims", "nfs", "read_only", "resources",
)  # fmt: skip

# A playbook that runs to its end there; the fragment is k8s_run.py.
IN_CLUSTER: Spec = {
    **IN_POD,
    "playbook": {"type": "str", "default": "holdfast.postgres.backup"},
    "deadline": {"type": "str", "default": "6h"},
    "restart_evicted": {"type": "bool"},
}

# A server that is put into a data directory.
DIRECTORY: Spec = {
    "owner": {"type": "str"},
    "config_file": {"type": "path"},
    "settings": {"type": "dict", "default": {}},
    "service": {"type": "str"},
}

_TARGET: Spec = {
    "time": {"type": "str"},
    "lsn": {"type": "str"},
    "xid": {"type": "str"},
    "name": {"type": "str"},
    "immediate": {"type": "bool"},
    "latest": {"type": "bool"},
    "inclusive": {"type": "bool"},
    "timeline": {"type": "str"},
}

# Where a recovery ends; the fragment is recovery.py.
TARGET: Spec = {"recovery_target": {"type": "dict", "options": _TARGET}}

# A server brought back to a moment (pg_recover).
RECOVERY: Spec = {
    "data_directory": {"type": "path", "required": True},
    "recovery_target": {
        "type": "dict",
        "options": {
            **_TARGET,
            "action": {"type": "str", "choices": ["promote", "pause", "shutdown"], "default": "promote"},
        },
    },
    "prepare": {"type": "bool", "default": False},
    "snapshots": {"type": "str", "choices": ["pass_over", "choose", "laid_out"], "default": "pass_over"},
    "in_place": {"type": "bool", "default": False},
    "start": {"type": "bool", "default": True},
    "stop_server": {"type": "bool", "default": False},
    "accept_unsigned": {"type": "bool", "default": False},
    "keep_archiving": {"type": "bool", "default": False},
}

# A Kubernetes cluster, by the names that kubernetes.core has for it; the fragment is kubernetes.py.
KUBERNETES: Spec = {
    "kubernetes": {
        "type": "dict",
        "default": {},
        "options": {
            # A dictionary is secret; access.py lets messages name a path.
            "kubeconfig": {"type": "raw", "no_log": True},
            "context": {"type": "str"},
            "namespace": {"type": "str"},
            "host": {"type": "str"},
            "api_key": {"type": "str", "no_log": True},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
            "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
            "client_cert": {"type": "path", "aliases": ["cert_file"]},
            "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},
            "proxy": {"type": "str"},
            "no_proxy": {"type": "str"},
            "proxy_headers": {
                "type": "dict",
                "options": {
                    "proxy_basic_auth": {"type": "str", "no_log": True},
                    "basic_auth": {"type": "str", "no_log": True},
                    "user_agent": {"type": "str"},
                },
            },
            "persist_config": {"type": "bool"},
            "impersonate_user": {"type": "str"},
            "impersonate_groups": {"type": "list", "elements": "str"},
        },
    },
}

# What looks at all that there is of a server's backups, and changes nothing; the fragment is look.py.
LOOK: Spec = {
    **CONNECTION,
    **REPOSITORIES,
    **ENCRYPTION,
    **ARCHIVER,
    **READING,
    **KUBERNETES,
    "archiving": {"type": "bool", "default": False},
    "wal_directory": {"type": "path"},
    "engine": {"type": "str", "choices": WITH_REPOSITORY},
    "engine_config": {"type": "path"},
    "expected_every": {"type": "str"},
}
# Where it finds the schedules of its host (look.schedules).
SCHEDULES: Spec = {
    "schedule_dir": {"type": "path", "default": "/etc/holdfast/schedules"},
    "cron_dir": {"type": "path", "default": "/etc/cron.d"},
}
#: what such a module wants of them, beside ``argument_spec``
LOOK_RULES: dict[str, Any] = {
    "required_one_of": [("repository", "repositories", "engine_config")],
    "required_by": {"engine_config": "engine"},
    "mutually_exclusive": [("repository", "repositories")],
    "supports_check_mode": True,
}

# The one file of a report: an action plugin and the module of its documentation take it.
REPORT_FILE: Spec = {
    "dest": {"type": "list", "elements": "path", "default": ["holdfast-report.html"]},
    "variable": {"type": "str", "required": True},
    "title": {"type": "str", "default": "Backups and what they are worth"},
    "since": {"type": "str"},
    "until": {"type": "str"},
}
