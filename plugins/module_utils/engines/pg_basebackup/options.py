# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_basebackup copies, and how: options to arguments, and what its manifest says. Pure.

Source: https://www.postgresql.org/docs/current/app-pgbasebackup.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES

# Every server's directory is one tar archive, and each tablespace's another one, named by its oid.
BASE = "base.tar"
MANIFEST = "backup_manifest"
CONFIGURATION = "configuration.tar"
#: what ``pg_backup`` takes for it, as argument specification
SPEC: dict[str, Any] = {
    "include_wal": {"type": "bool", "default": True},
    "checkpoint": {"type": "str", "choices": ["fast", "spread"], "default": "fast"},
    "max_rate": {"type": "int"},
    "compression_at": {"type": "str", "choices": ["client", "server"], "default": "client"},
}


@dataclass(frozen=True)
class BaseOptions:
    """The options of ``pg_backup`` that belong to this engine. ``max_rate`` is bytes per second."""

    kind: str
    include_wal: bool
    checkpoint: str
    max_rate: Optional[int]
    compression_at: str
    wal_timeout: int  # seconds

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> BaseOptions:
        """Raises BadOption for what makes no sense."""
        kind = params["kind"] or "full"
        if kind not in ("full", "incremental"):
            raise BadOption("kind", kind, "is no kind of backup that pg_basebackup makes", "Use full or incremental.")
        options = cls(
            kind,
            params["include_wal"],
            params["checkpoint"],
            params["max_rate"],
            params["compression_at"],
            parse_duration(params["wal_timeout"], "wal_timeout"),
        )
        # The server takes 32 kB to 1 GB a second.
        if options.max_rate is not None and not 32 * 1024 <= options.max_rate <= 1024**3:
            raise BadOption(
                "max_rate", options.max_rate, "is out of range", "Use 32768 to 1073741824 bytes per second."
            )
        if options.compression_at == "server" and params["compression"] == "none":
            raise BadOption("compression_at", "server", "means nothing without compression", "Leave it out.")
        return options

    def scope(self) -> dict[str, Any]:
        """The whole server, always: backups of this engine stand in for each other, whatever their kind."""
        return {"cluster": True}

    def enough(self) -> Sequence[str]:
        """The kinds of a fresh backup that make another one needless."""
        return ("full",) if self.kind == "full" else ("full", "incremental")

    def arguments(self, method: str, level: Optional[int]) -> list[str]:
        """Arguments of pg_basebackup, apart from where and from whom. Nothing is flushed to the disk: the archives are
        pipes, and the repository does that."""
        arguments = ["--format=tar", "--no-sync", "--verbose", "--no-password", f"--checkpoint={self.checkpoint}"]
        arguments.append("--wal-method=" + ("fetch" if self.include_wal else "none"))
        arguments += [f"--max-rate={self.max_rate // 1024}"] if self.max_rate else []
        if self.compression_at == "server":
            # zstd's negative levels are its program's; the server takes 1 and up.
            chosen = max(level or 1, 1)
            arguments.append(f"--compress=server-{method}:{chosen}")
        return arguments

    def suffix(self, method: str) -> str:
        """What pg_basebackup itself adds to the archives' names."""
        return SUFFIXES[method] if self.compression_at == "server" else ""


@dataclass(frozen=True)
class Said:
    """What the manifest tells of a copy. ``timeline`` is that of its start."""

    start_lsn: Optional[str]
    timeline: Optional[int]
    stop_lsn: Optional[str]


def understand(manifest: str) -> Said:
    """Read the end of a manifest, where the WAL stands that the copy needs: a range for each timeline. (What pg_basebackup
    prints tells less: nothing, when the WAL is not copied too.)

    Source: https://www.postgresql.org/docs/current/backup-manifest-wal-ranges.html
    """
    ranges = re.findall(
        r'"Timeline": *(\d+), *"Start-LSN": *"([0-9A-F]+/[0-9A-F]+)", *"End-LSN": *"([0-9A-F]+/[0-9A-F]+)"', manifest
    )
    if not ranges:
        return Said(None, None, None)
    first, last = (choose(ranges, key=lambda found: int(found[0])) for choose in (min, max))
    return Said(first[1], int(first[0]), last[2])
