# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run over the data of one StatefulSet that goes step by step, by itself, with each step written down before it is begun: whoever comes after a kill
goes on from there. What the steps are is said by who inherits it."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.actions import Actions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Entry, Journal
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.lease import Lease
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import (
    Request,
    Result,
    sentences,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains

Tell = Callable[[str], None]
_FIGURES = ("lsn", "timeline", "commit_time", "system_id")


class Stepwise:
    """``check``: nothing but reading is done."""

    def __init__(
        self,
        cluster: Cluster,
        request: Request,
        place: Place,
        actions: Actions,
        journal: Journal,
        serving: Serving,
        check: bool,
        tell: Tell,
        warnings: list[str],
    ) -> None:
        self._cluster, self._request, self._place, self._actions = cluster, request, place, actions
        self._journal, self._serving, self._check = journal, serving, check
        self._tell, self._warnings = tell, warnings
        self.result = Result()
        self._run = secrets.token_hex(4)

    @property
    def _called(self) -> str:
        return f"{self._place.namespace}/{self._place.stateful_set}"

    def _remains(self) -> str:
        """What is left when it is stopped now, and how it is gone on with."""
        raise NotImplementedError

    def _do(self, step: str) -> None:
        """One step. Raises HoldfastError."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """By one run at a time. What was read before is read again."""
        with Lease(self._cluster, self._request.stateful_set):
            before = self._journal.entry
            now = self._journal.read()
            if (before is None) != (now is None) or before and now and (before.id, before.step) != (now.id, now.step):
                raise KubernetesError(
                    f"Another run was at work on {self._called} a moment ago (it stands at: {now.step if now else 'its end'}). Nothing was done. Run it again."
                )
            with remains(self._remains, changed=lambda: self._journal.entry is not None):
                yield

    def _take(self) -> Entry:
        """What is under way is this run's from here on."""
        return self._journal.note(run=self._run)

    def _walk(self, names: Sequence[str]) -> None:
        for step in names:
            self._journal.note(step=step)
            self._tell(step)
            self._do(step)

    def _recover(self) -> None:
        """Have it recovered in private, and write down where it landed."""
        landed = self._actions.recover(self._entry())
        self._journal.note(landed=json.dumps({key: landed.get(key) for key in _FIGURES}))
        sentences(landed, self.result.proof)
        self.result.isolated = [str(one) for one in landed.get("isolated") or ()]

    def _entry(self) -> Entry:
        entry = self._journal.entry
        if entry is None:
            raise AssertionError("nothing is under way")
        return entry


def landed(entry: Entry) -> dict[str, Optional[Any]]:
    """Where a recovery came to, for a result."""
    found: dict[str, Optional[Any]] = json.loads(entry.landed) if entry.landed else {}
    return {"target": entry.target, "began": entry.began, **found}
