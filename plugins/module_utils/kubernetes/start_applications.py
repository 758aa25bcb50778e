# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the applications that were stopped, to the counts that they had, and lets those go on who were paused for them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import (
    App,
    Target,
    resumed,
    starting,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.keepers import PAUSED_FOR, Keeper, resuming
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Applications,
    Change,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import wait_for
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains


class Start(Applications):
    """``run``: start what was stopped here, to the counts that it had. What somebody started meanwhile is his."""

    def run(self) -> Change:
        """Raises KubernetesError."""
        known = dict(self.book.entries()) if self.book is not None else {}
        apps = self.read(must=False)
        ours = [app for app in apps if app.stopped is not None or app.paused or app.uid in known]
        with remains("What is started stays so; the same run again goes on.", changed=bool(ours)):
            self._carry_out(apps, ours, known)
        return self.change

    def _carry_out(self, apps: Sequence[App], ours: Sequence[App], known: Mapping[str, Mapping[str, Any]]) -> None:
        self._let_scale(ours)
        made = self.side_by_side(lambda app: self._start(app, known.get(app.uid)), ours)
        scaled: list[App] = []
        for app, (before, after) in zip(ours, made):
            count = _count(before, known.get(app.uid))
            if count is None:
                continue
            if before.running == 0:
                self.changed(f"start {before.target} ({after.count()})", before, after)
                self.tell_of(app, "started", count)
                scaled.append(after)
            else:
                if before is not after:
                    self.changed(f"forget that {before.target} was stopped", before, after)
                if before.running != count:
                    self.change.left.append(
                        f"{before.target} had {count} when it was stopped, and somebody has started it with {before.running} meanwhile: that stays."
                    )
                self.tell_of(app, "was_started", before.running)
        self._resume([after for _before, after in made])
        self._tell_of_others(apps, known)
        if self.book is not None and not self.settings.dry_run:
            done = [uid for uid in known if any(app.uid == uid for app in ours)]
            if done:
                self.book.remove(done)
        if not self.settings.dry_run and self.settings.wait:
            self._wait(scaled)

    def _start(self, app: App, entry: Optional[Mapping[str, Any]]) -> tuple[App, App]:
        """As it was when it was patched, and as it is then."""
        seen: list[App] = []

        def make(found: App) -> Optional[Manifest]:
            seen[:] = [found]
            count = _count(found, entry)
            if count is None or found.running and found.stopped is None:
                return None
            return starting(found, count if not found.running else None)

        after = self.patch(app, make)
        return seen[0], after

    def _let_scale(self, apps: Sequence[App]) -> None:
        """KEDA goes on before its application is started: it would scale that to 0 again."""
        self._go_on(apps, "ScaledObject", True)

    def _resume(self, apps: Sequence[App]) -> None:
        """The others go on once all is as they may have it; then nothing is left of us on the applications."""
        self._go_on(apps, "ScaledObject", False)
        for app in apps:
            if app.paused and not self.settings.dry_run:
                self.patch(app, lambda found: resumed(found) if found.paused else None)

    def _go_on(self, apps: Sequence[App], kind: str, this: bool) -> None:
        for name in sorted({one for app in apps for one in app.paused if (Keeper.parse(one).kind == kind) == this}):
            keeper, mine = Keeper.parse(name), [str(app.target) for app in apps if name in app.paused]
            self._let_go_on(keeper, mine)

    def _let_go_on(self, keeper: Keeper, mine: list[str]) -> None:
        last = False

        def make(found: Manifest) -> Optional[Manifest]:
            nonlocal last
            body = resuming(keeper, found, mine)
            last = body is not None and body["metadata"]["annotations"][PAUSED_FOR] is None
            return body

        if self.patch_keeper(keeper, make) and last:
            self.change.plan.append(f"let {keeper} go on")

    def _tell_of_others(self, apps: Sequence[App], known: Mapping[str, Mapping[str, Any]]) -> None:
        """What the record has under the name of one of these, and is another object by now."""
        for app in apps:
            for uid, entry in known.items():
                if uid != app.uid and Target(entry["kind"], entry["namespace"], entry["name"]) == app.target:
                    self.change.left.append(
                        f"{app.target} was made anew after it had been stopped with {entry['replicas']}: it is left as it is ({app.count()})."
                    )

    def _wait(self, apps: Sequence[App]) -> None:
        began = time.monotonic()
        for app in apps:
            if app.is_cron_job:
                continue
            left = max(self.settings.timeout - (time.monotonic() - began), 1.0)
            target = app.target
            try:
                wait_for(self.cluster, target.kind, target.name, left, namespace=target.namespace, tell=self.tell)
            except KubernetesError as exc:
                raise KubernetesError(
                    f"All were started, to the counts that they had, and {target} does not serve yet. {exc}"
                ) from exc


def _count(app: App, entry: Optional[Mapping[str, Any]]) -> Optional[int]:
    """How many it had: by its annotation, else by the record; None: we did not stop it."""
    if app.stopped is not None:
        return app.stopped
    return int(entry["replicas"]) if entry else None
