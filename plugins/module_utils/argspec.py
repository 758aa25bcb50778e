# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications that several modules share; each is documented once, in the fragment of the same name."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

CONNECTION: Spec = {
    "login_host": {"type": "str"},
    "login_unix_socket": {"type": "str"},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "ssl_mode": {
        "type": "str",
        "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
        "default": "prefer",
    },
    "ca_cert": {"type": "path"},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path", "no_log": False},
    "connect_params": {"type": "dict", "default": {}},
    "bin_dir": {"type": "path"},
}

REPOSITORY: Spec = {
    "repository": {
        "type": "dict",
        "required": True,
        "options": {
            "type": {"type": "str", "choices": ["file"], "default": "file"},
            "path": {"type": "path", "required": True},
        },
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

RETENTION: Spec = {
    "retention": {
        "type": "dict",
        "options": {
            "keep_last": {"type": "int"},
            "keep_within": {"type": "str"},
            "keep_daily": {"type": "int"},
            "keep_weekly": {"type": "int"},
            "keep_monthly": {"type": "int"},
            "keep_yearly": {"type": "int"},
            "min_keep": {"type": "int", "default": 1},
            "pins": {"type": "list", "elements": "str", "default": []},
            "count": {"type": "int"},
            "max_age": {"type": "str"},
        },
    },
}
