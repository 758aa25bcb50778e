# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which applications are meant, and how they and those who keep them are patched: only as they were read, and judged again where somebody
changed them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Conflict, Missing, NotInstalled
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.keepers import VERSIONS, Keeper
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

T = TypeVar("T")
#: so many times an object that others changed meanwhile is looked at again
_AGAIN = 10
#: requests under way at once
_SIDE_BY_SIDE = 8


class Book(Protocol):
    """Where it is written down what was stopped, beside the annotations: entries as ``applications.entry_of`` makes them."""

    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """By uid."""

    def add(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Before anything is stopped. Raises HoldfastError."""

    def remove(self, uids: Iterable[str]) -> None:
        """What is started again. Raises HoldfastError."""


@dataclass(frozen=True)
class Selection:
    """Which applications: by name, or by labels in namespaces."""

    targets: tuple[Target, ...] = ()
    selector: str = ""
    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """``on_managed``: refuse, pause or ignore; ``wait``: until pods have ended, or serve, for ``timeout`` seconds at most."""

    on_managed: str
    argocd_namespace: str
    wait: bool
    timeout: float
    dry_run: bool


@dataclass
class Change:
    """What is done. ``applications``: each with what became of it; ``left``: what was not done, a sentence each; ``managed``: whom somebody's
    applications are kept by."""

    plan: list[str] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)
    applications: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    managed: list[str] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """As the module returns it."""
        return {
            "changed": bool(self.plan),
            "plan": self.plan,
            "applications": self.applications,
            "left": self.left,
            "managed": self.managed,
        }


class Applications:
    """What stopping and starting share."""

    def __init__(
        self,
        cluster: Cluster,
        selection: Selection,
        settings: Settings,
        book: Optional[Book],
        tell: Callable[[str], None],
    ) -> None:
        self.cluster, self.selection, self.settings = cluster, selection, settings
        self.book, self.tell = book, tell
        self.change = Change()

    def read(self, must: bool) -> list[App]:
        """Those that are selected. ``must``: each that is named has to be there."""
        chosen = self.selection
        if not chosen.targets:
            return [
                App(one)
                for namespace in chosen.namespaces
                for kind in chosen.kinds
                for one in self.cluster.list(kind, chosen.selector, namespace=namespace)
            ]
        found = self.side_by_side(
            lambda target: self.cluster.get(target.kind, target.name, target.namespace), chosen.targets
        )
        there = [App({"kind": target.kind, **one}) for target, one in zip(chosen.targets, found) if one is not None]
        lacking = [str(target) for target, one in zip(chosen.targets, found) if one is None]
        if lacking and must:
            raise Missing(f"There is no {', no '.join(lacking)}. Nothing was stopped.")
        self.change.left += [f"{one} is not there any more." for one in lacking]
        return there

    def side_by_side(self, work: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
        """Some requests at once. The first one is alone: it makes the connection."""
        if len(items) < 3:
            return [work(one) for one in items]
        first = work(items[0])
        with threads(_SIDE_BY_SIDE) as pool:
            return [first, *pool.map(work, items[1:])]

    def patch(self, app: App, make: Callable[[App], Optional[Manifest]]) -> App:
        """Patch what was read, and nothing that is newer: where somebody changed it meanwhile it is looked at, and judged, again."""
        target = app.target
        for _attempt in range(_AGAIN):
            body = make(app)
            if body is None:
                return app
            try:
                made = self.cluster.patch(
                    target.kind, target.name, body, target.namespace, dry_run=self.settings.dry_run
                )
                return App({"kind": target.kind, **made})
            except Conflict:
                fresh = self.cluster.get(target.kind, target.name, target.namespace)
                if fresh is None:
                    raise Missing(f"The {target} was deleted meanwhile.") from None
                app = App({"kind": target.kind, **fresh})
        raise Conflict(
            f"The {target} is being changed by somebody all the time: it was given up after {_AGAIN} attempts."
        )

    def keeper(self, keeper: Keeper) -> tuple[str, Optional[Manifest]]:
        """His kind as the API server has it, and his object."""
        for kind in VERSIONS.get(keeper.kind, ()):
            try:
                return kind, self.cluster.get(kind, keeper.name, keeper.namespace)
            except NotInstalled:
                continue
        return keeper.kind, None

    def patch_keeper(self, keeper: Keeper, make: Callable[[Manifest], Optional[Manifest]]) -> bool:
        """Whether there was something to change."""
        for _attempt in range(_AGAIN):
            kind, found = self.keeper(keeper)
            body = make(found) if found is not None else None
            if body is None:
                return False
            try:
                self.cluster.patch(kind, keeper.name, body, keeper.namespace, dry_run=self.settings.dry_run)
                return True
            except Conflict:
                continue
        raise Conflict(
            f"The {keeper} is being changed by somebody all the time: it was given up after {_AGAIN} attempts."
        )

    def changed(self, step: str, before: App, after: App) -> None:
        self.change.plan.append(step)
        self.change.before.append(before.shown())
        self.change.after.append(after.shown())

    def tell_of(self, app: App, state: str, replicas: int) -> None:
        target = app.target
        self.change.applications.append(
            {
                "kind": target.kind,
                "namespace": target.namespace,
                "name": target.name,
                "state": state,
                "replicas": replicas,
            }
        )


def targets_of(given: Iterable[Mapping[str, Any]], namespace: Callable[[], str]) -> Iterator[Target]:
    """From the option ``applications``; ``namespace``: for those that name none."""
    for one in given:
        yield Target(one["kind"], one["namespace"] or namespace(), one["name"])
