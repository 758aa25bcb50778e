# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a Backup to its end, with its phases as progress."""

from __future__ import annotations

import time
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import backup_object
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import BACKUP
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

#: seconds that nobody has looked at the Backup, or that its WAL is not archived, before that ends the wait
UNSEEN, NOT_ARCHIVED = 60.0, 90.0


class _Watch:
    def __init__(self, cluster: Cluster, name: str, progress: Progress) -> None:
        self._cluster, self._name, self._progress = cluster, name, progress
        self.phase: Optional[str] = None
        self.since = time.monotonic()
        self.seen: Optional[Manifest] = None

    def look(self) -> Optional[Manifest]:
        found = self._cluster.get(BACKUP, self._name)
        if found is None:
            raise Missing(
                f"The Backup {self._name} was deleted while it was waited for. What it had copied is in the store, and no backup that may be relied on."
            )
        self.seen = found
        phase = backup_object.phase_of(found)
        if phase != self.phase:
            self.phase, self.since = phase, time.monotonic()
            self._progress.step(f"{backup_object.said(found)}: {self._name}")
        self._progress.tell(None, None)
        why = backup_object.why_failed(found)
        if why is not None:
            raise ServerError(
                f"The Backup {self._name} failed: {why}. There is no backup of it. {self.events()}".rstrip()
            )
        if phase == backup_object.COMPLETED:
            return found
        self._check_patience(phase)
        return None

    def _check_patience(self, phase: str) -> None:
        waited = time.monotonic() - self.since
        if not phase and waited >= UNSEEN:
            raise KubernetesError(
                f"Nobody has looked at the Backup {self._name} for {format_duration(waited)}: CloudNativePG's operator does not run, or does not watch the "
                f"namespace {self._cluster.namespace}. There is no backup yet. The Backup stays: the operator makes it when it is back, and the "
                "same run finds it then."
            )
        if phase == backup_object.ARCHIVING_FAILS and waited >= NOT_ARCHIVED:
            raise ServerError(
                f"The operator has waited for {format_duration(waited)} with the Backup {self._name}, as the server's WAL is not archived: look at "
                f"the condition ContinuousArchiving of its Cluster. There is no backup. {self.events()}".rstrip()
            )

    def events(self) -> str:
        """The last of what was said of it, where that may be read."""
        told = [
            " ".join(str(one.get("message") or "").split())
            for one in self._cluster.events("Backup", self._name)
            if one.get("type") == "Warning"
        ]
        return f"Its events say: {told[-1].rstrip('.')}." if told else ""


def follow(cluster: Cluster, name: str, deadline: float, progress: Progress) -> Manifest:
    """Wait until the operator says that a Backup is completed: no more than that. ``deadline``: seconds.

    Raises:
        ServerError: it failed; the server's WAL is not archived.
        KubernetesError: nobody looks at it; the deadline; it is gone.
    """
    watch = _Watch(cluster, name, progress)
    found = Waiter(deadline, pause=0.3, most=2.0).until({"completed": watch.look})
    if found is not None:
        return found.value
    phase = watch.phase or "nothing yet"
    raise KubernetesError(
        f"The Backup {name} was followed for {format_duration(deadline)} (deadline), and its phase is {phase} since "
        f"{format_duration(time.monotonic() - watch.since)}. It goes on without us, and the same run finds it again; where it stays so for ever, delete "
        f"it. {watch.events()}".rstrip()
    )
