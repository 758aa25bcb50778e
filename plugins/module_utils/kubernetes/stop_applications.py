# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops applications: all are scaled first, and then waited for together. Killed at any step the next run goes on, as each object says itself
what it had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import (
    App,
    Target,
    entry_of,
    intending,
    stopping,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import is_postgres, meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.ending import Ending, refuse_started
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, NotInstalled
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.keepers import (
    Keeper,
    cannot_pause,
    hindrance,
    is_paused,
    keepers_of,
    pausing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Applications,
    Change,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

_REMAIN = "What was stopped stays so, and state: started brings it back; the same run again goes on."


class Stop(Applications):
    """``run``: stop them. What is at 0 already is left alone, as somebody else means it so."""

    def run(self) -> Change:
        """Raises KubernetesError: nothing was stopped, or what was stopped has not ended; the message says which."""
        apps = self.read(must=True)
        self._refuse(apps)
        to_stop = [app for app in apps if app.running]
        pause = self._to_pause(to_stop)
        if self.book is not None and to_stop and not self.settings.dry_run:
            when = format_time(utcnow())
            self.book.add([entry_of(app, when) for app in to_stop])
        if self.settings.dry_run:
            self._carry_out(apps, to_stop, pause)
            return self.change
        with remains(_REMAIN, changed=bool(to_stop)):
            try:
                self._carry_out(apps, to_stop, pause)
            except KubernetesError as exc:
                raise KubernetesError(f"{exc} {_REMAIN}") from exc
        return self.change

    def _carry_out(self, apps: Sequence[App], to_stop: Sequence[App], pause: Mapping[Target, list[str]]) -> None:
        noted = self._pause(to_stop, pause)
        made = self.side_by_side(lambda app: self._stop(app, pause.get(app.target, [])), noted)
        for before, after in zip(to_stop, made):
            self.changed(f"stop {before.target} ({before.count()})", before, after)
        now, had = {app.target: app for app in made}, {app.target: app.running for app in to_stop}
        for app in apps:
            count = had.get(app.target, app.stopped)
            self.tell_of(app, "was_stopped" if count is None else "stopped", count or 0)
        if not self.settings.dry_run and self.settings.wait:
            self._wait([now.get(app.target, app) for app in apps])

    def _stop(self, app: App, paused: list[str]) -> App:
        return self.patch(app, lambda found: stopping(found, paused) if found.running else None)

    def _refuse(self, apps: Sequence[App]) -> None:
        for app in apps:
            retention = spec_of(app.object).get("persistentVolumeClaimRetentionPolicy") or {}
            if app.target.kind == "StatefulSet" and app.running and retention.get("whenScaled") == "Delete":
                raise KubernetesError(
                    f"The {app.target} has persistentVolumeClaimRetentionPolicy.whenScaled: Delete: scaled to 0, its claims and the data on them are "
                    "deleted. Nothing was stopped. Set it to Retain first."
                )
            template = spec_of(spec_of(app.object).get("template") or {})
            if self.selection.selector and app.target.kind == "StatefulSet" and is_postgres(template):
                raise KubernetesError(
                    f"The labels {self.selection.selector} select the {app.target} too, which runs PostgreSQL itself. Nothing was stopped. Make the "
                    "selector narrower, or name what is to be stopped by applications."
                )

    def _to_pause(self, apps: Sequence[App]) -> dict[Target, list[str]]:
        """Whom to pause for each. Raises KubernetesError: on_managed is refuse, or that cannot be done."""
        if self.settings.on_managed == "ignore":
            return {}
        namespaces = sorted({app.target.namespace for app in apps})
        autoscalers = [one for namespace in namespaces for one in self._scalers("HorizontalPodAutoscaler", namespace)]
        scaled = [one for namespace in namespaces for one in self._scalers("ScaledObject", namespace)]
        found: dict[Keeper, Optional[Manifest]] = {}
        pause: dict[Target, list[str]] = {}
        refused: list[str] = []
        for app in apps:
            for keeper in keepers_of(app, autoscalers, scaled, self.settings.argocd_namespace):
                self.change.managed.append(f"{app.target}: {keeper}")
                if keeper not in found:
                    listed = (
                        one for one in autoscalers if keeper.kind == "HorizontalPodAutoscaler" and _is(one, keeper)
                    )
                    found[keeper] = next(listed, None) or self.keeper(keeper)[1]
                there = found[keeper]
                reason = hindrance(keeper, there)
                ours = there is not None and is_paused(there)
                if not reason and not ours:
                    continue
                cannot = cannot_pause(keeper, there)
                if reason and (self.settings.on_managed == "refuse" or cannot):
                    refused.append(
                        f"{app.target}: {reason}{', ' + cannot if cannot and self.settings.on_managed == 'pause' else ''}"
                    )
                else:
                    pause.setdefault(app.target, []).append(str(keeper))
        if refused:
            way = "on_managed: pause pauses it until they are started, " if self.settings.on_managed == "refuse" else ""
            raise KubernetesError(
                f"What is stopped would come back: {'; '.join(refused)}. Nothing was stopped. {way}on_managed: ignore stops them all the same."
            )
        return pause

    def _scalers(self, kind: str, namespace: str) -> Manifests:
        try:
            return self.cluster.list(kind, namespace=namespace)
        except NotInstalled:
            return []

    def _pause(self, apps: Sequence[App], pause: Mapping[Target, list[str]]) -> list[App]:
        """Pause whoever has to be, after each application says so: whoever goes on after a kill finds them by that."""
        noted = [
            app if self.settings.dry_run or not pause.get(app.target) else self.patch(app, _intend(pause[app.target]))
            for app in apps
        ]
        keepers = sorted({one for names in pause.values() for one in names})
        for name in keepers:
            keeper, mine = Keeper.parse(name), [str(target) for target, names in pause.items() if name in names]
            self._pause_one(keeper, mine)
        return noted

    def _pause_one(self, keeper: Keeper, mine: list[str]) -> None:
        was_paused = False

        def make(found: Manifest) -> Manifest:
            nonlocal was_paused
            was_paused = is_paused(found)
            return pausing(keeper, found, mine)

        if self.patch_keeper(keeper, make) and not was_paused:
            self.change.plan.append(f"pause {keeper}")

    def _wait(self, apps: list[App]) -> None:
        ours = {app.uid: app for app in apps if app.stopped is not None}
        if not ours:
            return
        Ending(self.cluster, list(ours.values()), self.tell).wait(self.settings.timeout)
        for app in self.read(must=False):
            if app.uid in ours:
                refuse_started(app)


def _intend(paused: list[str]) -> Callable[[App], Manifest]:
    return lambda app: intending(app, paused)


def _is(found: Manifest, keeper: Keeper) -> bool:
    return meta(found).get("namespace") == keeper.namespace and meta(found)["name"] == keeper.name
