# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of one drill: what it comes to know on its way, and the evidence that is made of it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import chain, evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill import findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.form import Form, Reached
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.tiers import Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact
from ansible_collections.holdfast.postgres.plugins.module_utils.users import name_of

#: the steps that bring the server back; what comes then only looks at it
RESTORING = ("choose", "plan", "make", "restore", "replay", "start", "isolate", "write")


@dataclass(frozen=True)
class About:
    """Versions for the evidence, how it is signed, and where it is kept if no repository takes it."""

    collection: str
    ansible: str
    sign: Optional[evidence.Sign]
    state_dir: str


@dataclass
class Course:
    """Of a drill of the server ``name``, which was asked for at ``asked_at``. ``form``, ``tier`` and ``records`` are known once a backup is
    chosen; ``manifest``: its sha256; ``rto``: seconds until the first write; ``marker``: ISO 8601."""

    name: str
    request: DrillRequest
    about: About
    findings: Findings
    asked_at: datetime.datetime
    form: Optional[Form] = None
    tier: Optional[Tier] = None
    records: Sequence[Record] = ()
    manifest: Optional[str] = None
    rto: Optional[float] = None
    marker: Optional[str] = None
    environment: dict[str, Any] = field(default_factory=dict)
    isolation: dict[str, Any] = field(default_factory=dict)
    priority: str = "as any other process"

    def note_manifest(self, record: Record) -> None:
        """Before it is restored: once it is, a prune may take the backup away."""
        shelf = self.tier.shelf if self.tier else None
        with contextlib.suppress(HoldfastError):  # there is none where an engine keeps its own
            if shelf is not None:
                self.manifest = hashlib.sha256(shelf.repository.read(shelf.key(record.id, MANIFEST))).hexdigest()

    def content(
        self, record: Optional[Record], began: str, stopped: str, teardown: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The evidence, not yet sealed. ``record``: of the backup, None where the drill did not come to it; ``began``, ``stopped``: ISO 8601."""
        form, request, found = self.form, self.request, self.findings
        reached = form.reached if form else Reached(request.asked)
        rpo: Optional[float] = None
        if reached.measures_rpo and reached.commit_time is not None and found.failure is None:
            rpo = round((self.asked_at - reached.commit_time).total_seconds(), 3)
            if rpo < 0:
                found.notes.append(
                    f"The last transaction is of {format_exact(reached.commit_time)}, after the moment of asking by this host's clock: the clocks are "
                    "apart, and the RPO is not known."
                )
                rpo = None
        objectives = {"rto": request.rto, "rpo": request.rpo}
        judged, reasons = findings.verdict(found, findings.missed(objectives, self.rto, rpo))
        restoring = found.seconds_of(*RESTORING)
        return {
            "format": evidence.FORMAT,
            "run_id": os.environ.get("HOLDFAST_RUN_ID"),
            "started_at": began,
            "stopped_at": stopped,
            "operator": request.operator or name_of(os.geteuid()),
            "trigger": request.trigger,
            "scenario": request.scenario,
            "host": _host(self.about.ansible),
            "collection_version": self.about.collection,
            "server": {
                "name": self.name,
                "system_id": record.server.get("system_id") if record else None,
                "version_num": record.server.get("version_num") if record else None,
            },
            "backup": self._backup(record) if record else None,
            "chain": self._chain(record) if record else [],
            "target": {
                "asked": reached.asked,
                "reached": reached.target,
                "timeline": reached.timeline,
                "lsn": reached.lsn,
                "commit_time": format_exact(reached.commit_time) if reached.commit_time else None,
                "marker": self.marker,
            },
            **found.described(),
            "objectives": objectives,
            "measured": {
                "rto_seconds": self.rto if found.failure is None else None,
                "rpo_seconds": rpo,
                "restoring_seconds": restoring,
                "window_start": format_exact(reached.window[0]) if reached.window[0] else None,
                "window_end": format_exact(reached.window[1]) if reached.window[1] else None,
                "bytes": form.fetched if form else None,
            },
            "environment": self.environment,
            "isolation": {
                "archive_mode": "off",
                "listen_addresses": "none, a socket in a directory of its own alone",
                "jobs": "libraries that act by themselves are not loaded, or start no job",
                "subscriptions": "disabled, and no worker of them may run",
                **self.isolation,
                **(form.isolated if form else {}),
                "memory": f"shared_buffers = {request.memory}",
                "priority": self.priority,
            },
            "teardown": dict(teardown),
            "verdict": judged,
            "reasons": reasons,
            "notes": list(dict.fromkeys(found.notes)),
        }

    def _backup(self, record: Record) -> dict[str, Any]:
        return {
            "id": record.id,
            "engine": record.engine,
            "kind": record.kind,
            "started_at": record.started_at,
            "stopped_at": record.stopped_at,
            "tier": self.tier.name if self.tier else None,
            "sha256": self.manifest,
        }

    def _chain(self, record: Record) -> list[str]:
        return [link.id for link in chain.links(record, chain.by_id(self.records).get)][::-1]


def _host(ansible: str) -> dict[str, Any]:
    """This host, as the times that were measured hold for it alone."""
    system = platform.system()
    with contextlib.suppress(OSError), open("/etc/os-release", encoding="utf-8") as stream:
        told = dict(line.rstrip("\n").partition("=")[::2] for line in stream)
        system = told.get("PRETTY_NAME", system).strip('"')
    return {
        "name": platform.node(),
        "os": system,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "ansible": ansible,
    }
