# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to each captured object in a namespace: judged before anything is written, by what is there and by the API server's dry run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.capture import order
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.compare import differences, patch, shown
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import strip
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App, starting
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, owners, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
    NotInstalled,
    NotLoggedIn,
    Terminating,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, kind_of, name_of

MAKE, REPLACE, START, SAME, LEFT, WAITS = "made", "replaced", "started", "unchanged", "left", "waits"
CLAIM = "PersistentVolumeClaim"


@dataclass
class Item:
    """One object. ``wanted``: as it is to be; ``there``: as it is, None: it is not; ``what``: one of the words above; ``why``: of LEFT and WAITS;
    ``fields``: in which it differs; ``trouble``: why it cannot be done; empty: it has to be agreed to; ``doubt``: what may come of it."""

    wanted: Manifest
    there: Optional[Manifest]
    what: str
    why: str = ""
    fields: Sequence[str] = ()
    trouble: Optional[str] = None
    doubt: Optional[str] = None

    @property
    def name(self) -> str:
        return key(self.wanted)

    @property
    def step(self) -> Optional[str]:
        """A line of the plan; None: nothing is done."""
        called = name_of(self.wanted)
        if self.what == MAKE:
            stopped = ", which starts nothing yet" if order.is_held(self.wanted) else ""
            return f"make the {called}{stopped}"
        if self.what == REPLACE:
            return f"make the {called} what was captured ({', '.join(self.fields)})"
        return f"let the {called} run as it did" if self.what == START else None

    def result(self) -> dict[str, Any]:
        """For the module's result."""
        return {
            "api_version": self.wanted["apiVersion"],
            "kind": self.wanted["kind"],
            "name": meta(self.wanted)["name"],
            "state": self.what,
            "fields": list(self.fields),
            "why": self.why or None,
        }


@dataclass(frozen=True)
class Terms:
    """``hold``: what runs waits for the data; ``replace``: what may be made what was captured, as ``Kind/name``; ``keep``: whatever else differs
    stays; ``bare``: the namespace is not there yet, so that nothing can be tried."""

    hold: bool
    replace: Sequence[str] = ()
    keep: bool = False
    bare: bool = False


@dataclass
class Difference:
    """As Ansible shows it: of Secrets no value."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


def judge(cluster: Cluster, wanted: Manifest, terms: Terms) -> Item:
    """Look at one object, and let the API server try what would be done. Raises KubernetesError: it cannot be looked at."""
    namespace = str(meta(wanted)["namespace"])
    why = order.waits(wanted) if terms.hold else None
    try:
        there = None if terms.bare else cluster.get(kind_of(wanted), str(meta(wanted)["name"]), namespace)
    except NotInstalled as exc:
        return Item(
            wanted,
            None,
            LEFT,
            trouble=f"{name_of(wanted)} was captured as {wanted['apiVersion']}, and cannot be made: {exc}",
        )
    if there is None:
        if why is not None:
            return Item(wanted, None, WAITS, why)
        item = Item(order.held(wanted) if terms.hold else wanted, None, MAKE)
    else:
        item = _existing(wanted, {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], **there}, terms)
    if not terms.bare:
        _try(cluster, item)
    if item.what == MAKE and wanted["kind"] == CLAIM:
        item.doubt = _unbound(cluster, wanted)
    return item


def _unbound(cluster: Cluster, wanted: Manifest) -> Optional[str]:
    """Why a claim may never be bound; None: nothing speaks against it, or that may not be looked at."""
    name = spec_of(wanted).get("storageClassName")
    with contextlib.suppress(Forbidden):
        if name and cluster.get("StorageClass", str(name)) is None:
            return (
                f"The {name_of(wanted)} was of the storage class {name}, which this cluster has not: unless a volume of that name's class is there, it stays "
                "unbound for ever. Make one of that name beforehand (of another class, it stays as it is), or delete this one and do so."
            )
    return None


def _existing(wanted: Manifest, there: Manifest, terms: Terms) -> Item:
    if (meta(there)).get("deletionTimestamp"):
        return Item(
            wanted, there, LEFT, trouble=f"{name_of(wanted)} is still being deleted. Run it again when it is gone."
        )
    if wanted["kind"] == CLAIM:
        # What is on it is not ours to judge, and of a claim nearly nothing can be changed.
        return Item(
            wanted, there, SAME if not differences(there, wanted) else LEFT, "is there already, and stays as it is"
        )
    fields = differences(there, order.with_count_of(wanted, strip(there)))
    if not fields:
        return Item(wanted, there, START if not terms.hold and order.is_held(there) else SAME)
    if key(wanted) not in terms.replace and terms.keep:
        return Item(wanted, there, LEFT, f"is there, stays, and is not what was captured ({', '.join(fields)})", fields)
    agreed = None if key(wanted) in terms.replace else ""
    return Item(order.with_count_of(wanted, strip(there)), there, REPLACE, fields=fields, trouble=agreed)


def _try(cluster: Cluster, item: Item) -> None:
    try:
        carry_out(cluster, item, dry_run=True)
    except (Terminating, Unreachable, NotLoggedIn):
        raise  # the same of each
    except Missing:
        if item.wanted["kind"] != "RoleBinding":
            raise  # the namespace
        # Its Role comes before it, and is not there yet.
    except KubernetesError as exc:
        item.trouble = str(exc)


def carry_out(cluster: Cluster, item: Item, dry_run: bool = False) -> Optional[Manifest]:
    """Do what was judged. Returns the object as it is then; None: nothing was to do. Raises KubernetesError."""
    metadata = meta(item.wanted)
    kind, name, namespace = kind_of(item.wanted), str(metadata["name"]), str(metadata["namespace"])
    if item.what == MAKE:
        return _make(cluster, item.wanted, dry_run)
    if item.what == REPLACE and item.there is not None:
        return cluster.patch(kind, name, patch(item.there, item.wanted), namespace, dry_run=dry_run)
    if item.what == START and item.there is not None:
        app = App(item.there)
        return cluster.patch(kind, name, starting(app, app.stopped), namespace, dry_run=dry_run)
    return None


def _make(cluster: Cluster, wanted: Manifest, dry_run: bool) -> Manifest:
    try:
        return cluster.apply(wanted, dry_run=dry_run).object
    except KubernetesError as exc:
        # A variable that is named twice, say: the API takes it, and server-side apply does not.
        # https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
        if "duplicate entries for key" not in str(exc):
            raise
        return cluster.create(wanted, dry_run=dry_run)


def note(item: Item, change: Difference) -> None:
    """Add what is done to an object to the difference that is shown."""
    called = name_of(item.wanted)
    if item.what == MAKE:
        change.after[called] = shown(item.wanted) if not order.is_held(item.wanted) else _as_held(item.wanted)
    elif item.what == REPLACE and item.there is not None:
        change.before[called], change.after[called] = shown(item.there), shown(item.wanted)
    elif item.what == START and item.there is not None:
        change.before[called], change.after[called] = {"running": False}, {"running": True}


def _as_held(wanted: Manifest) -> Manifest:
    """``shown`` tells the count that it had."""
    field_name = "suspend" if wanted["kind"] == "CronJob" else "replicas"
    told = shown(wanted)
    return {**told, "spec": {**told["spec"], field_name: wanted["spec"][field_name]}}


def who_keeps(item: Item) -> Optional[str]:
    """A warning where somebody would take back what is changed; None: nobody is known."""
    found = owners(item.there or {})["gitops"] if item.what == REPLACE else None
    if found is None:
        return None
    return f"The {name_of(item.wanted)} is kept by {found['tool']} ({found['name']}), who may set it back: what was captured has to go into Git as well."
