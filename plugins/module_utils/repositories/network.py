# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a store: its certificate, its clock, and whether others may listen."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import (
    Finding,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


def ca_file(options: Mapping[str, Any]) -> Optional[str]:
    """The file of the authorities that the store's certificate is checked by; None: the system's.

    Raises:
        BadOption: it cannot be read, or has no certificate.
    """
    path: Optional[str] = options.get("ca_file")
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as exc:  # ssl.SSLError is one
            raise BadOption(
                "repository.ca_file", path, f"cannot be used ({exc})", "Name a file of certificates in PEM."
            ) from exc
    return path


def skew(date: Optional[str]) -> list[Finding]:
    """How far this host's clock is from the store's, by the ``Date`` of its answer."""
    if not date:
        return []
    there = email.utils.parsedate_to_datetime(date)
    off = (utcnow() - there).total_seconds()
    if abs(off) < 60:
        return [Finding("fine", "the clocks agree")]
    level = "error" if abs(off) > 300 else "warning"
    message = f"this host's clock is {format_duration(abs(off))} {'ahead of' if off > 0 else 'behind'} the store's"
    return [Finding(level, f"{message}: set it (chrony, timedatectl); stores refuse requests from 15 minutes on")]


def transport(endpoint: str) -> Finding:
    """Whether what goes to the store is encrypted on its way."""
    if endpoint.startswith("https://"):
        return Finding("fine", "what goes there is encrypted on its way (TLS)")
    return Finding("warning", f"what goes to {endpoint} is not encrypted on its way: use https, or encrypt the backups")
