# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Cluster that is made of a backup: what the source is like, with where it begins and where it archives to. Pure.

Fields: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/cluster_types.go
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import API, BARMAN_PLUGIN
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

#: annotations of a Cluster that this collection made: what was asked for (a digest), and the same for people
RECOVERY, RECOVERY_OF = f"{names.PREFIX}cnpg-recovery", f"{names.PREFIX}cnpg-recovery-of"
#: which timeline it was to follow, and to which target: what is compared afterwards, also by a later run
RECOVERY_PLAN = f"{names.PREFIX}cnpg-recovery-plan"
LONGEST_NAME = 50  # of a Cluster, as its webhook has it
_SNAPSHOT = "snapshot.storage.k8s.io"
# What says how the source began, where it follows another one, or what it does just now.
_LEFT_OUT = ("bootstrap", "externalClusters", "replica", "nodeMaintenanceWindow")
#: parts of the specification that are what is restored, and not how
OURS = ("bootstrap", "externalClusters", "replica")


@dataclass(frozen=True)
class Application:
    """The application's database: ``database`` and ``owner`` as the source has them; ``secret``: the Secret with the owner's password, where
    the user made it (None: the operator makes one)."""

    database: Optional[str] = None
    owner: Optional[str] = None
    secret: Optional[str] = None


@dataclass(frozen=True)
class Snapshots:
    """VolumeSnapshots that a server's volumes are made of: of PGDATA, of the WAL, and of tablespaces by name."""

    data: str
    wal: Optional[str] = None
    tablespaces: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.data, self.wal, *self.tablespaces.values())))


@dataclass(frozen=True)
class Beginning:
    """Where it begins: in the store ``source`` (None: snapshots alone), by ``target`` as recovery_target.py makes it; ``origin``: what the
    operator calls the store."""

    origin: str
    source: Optional[BarmanStore]
    target: Mapping[str, Any]
    snapshots: Optional[Snapshots] = None


def application(spec: Mapping[str, Any]) -> Application:
    """The application's database of a Cluster, by how it began; ``app`` is what the operator has where nothing is said."""
    bootstrap = spec.get("bootstrap") or {}
    way = next((bootstrap[one] for one in ("recovery", "pg_basebackup", "initdb") if bootstrap.get(one)), None)
    if way is None:
        return Application()
    return Application(
        way.get("database") or None, way.get("owner") or None, (way.get("secret") or {}).get("name") or None
    )


def compared(of: Application, database: Optional[str], owner: Optional[str], secret: Optional[str]) -> Application:
    """What is asked for, with what the source has where nothing is.

    Raises:
        BadOption: it is another one than the source's: the operator would make an empty database of that name, beside the one with the rows.
    """
    for name, asked, has in (("database", database, of.database), ("owner", owner, of.owner)):
        if asked and has and asked != has:
            raise BadOption(
                name, asked, f"is not the source's, which is {has}: the operator would make a new, empty one",
                "Leave it out, and the source's is taken.",
            )  # fmt: skip
    found = Application(database or of.database, owner or of.owner, secret or of.secret)
    if bool(found.database) != bool(found.owner):
        raise BadOption(
            "database" if found.owner else "owner", None, "is not known, and the other one is",
            "Give both, as they were in the source, or neither: then there is no Secret for an application.",
        )  # fmt: skip
    return found


def new_name(name: str, when: datetime.datetime) -> str:
    """A server's name in the store that nothing lies under yet."""
    return f"{name}-{when:%Y%m%d%H%M}"


def manifest(
    name: str,
    namespace: str,
    spec: Mapping[str, Any],
    beginning: Beginning,
    archive_as: Optional[str],
    of: Application,
    changes: Mapping[str, Any],
    notes: list[str],
) -> Manifest:
    """The new Cluster. ``spec``: the source's; ``archive_as``: the server's name that it archives under (None: it archives nowhere that is
    known); ``changes`` are merged into the specification, null removing what is there. ``notes`` hears what was left out.

    Raises:
        BadOption: the changes say what is said otherwise.
    """
    for part in OURS:
        if part in changes:
            raise BadOption(
                "spec", part, "is what this is about, and is written by the module", "Leave it out, and use the module's options."
            )  # fmt: skip
    made: dict[str, Any] = {key: copy.deepcopy(value) for key, value in spec.items() if key not in _LEFT_OUT}
    _without_names(made, notes)
    if archive_as:
        _archive(made, archive_as)
    recovery: dict[str, Any] = {}
    if beginning.source is not None:
        recovery["source"] = beginning.origin
        made["externalClusters"] = [_external(beginning.origin, beginning.source)]
    if beginning.snapshots is not None:
        recovery["volumeSnapshots"] = _data_source(beginning.snapshots)
    if beginning.target:
        recovery["recoveryTarget"] = dict(beginning.target)
    if of.database and of.owner:
        recovery.update(database=of.database, owner=of.owner)
        if of.secret:
            recovery["secret"] = {"name": of.secret}
    made = merged(made, changes)
    made["bootstrap"] = {"recovery": recovery}
    return {
        "apiVersion": API,
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(names.MANAGED_BY)},
        "spec": made,
    }


def merged(value: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As a merge patch does it (RFC 7386): dictionaries are merged, null removes, all else replaces."""
    found = dict(value)
    for key, change in changes.items():
        before = found.get(key)
        if change is None:
            found.pop(key, None)
        elif isinstance(change, Mapping):
            found[key] = merged(before if isinstance(before, Mapping) else {}, change)
        else:
            found[key] = change
    return found


def _without_names(made: dict[str, Any], notes: list[str]) -> None:
    """Services and certificates have names of the source's own."""
    services = (made.get("managed") or {}).get("services") or {}
    if services.get("additional"):
        told = [
            str(((one.get("serviceTemplate") or {}).get("metadata") or {}).get("name"))
            for one in services["additional"]
        ]
        services.pop("additional")
        notes.append(
            f"The source's additional Services ({', '.join(told)}) were left out, as their names are taken: give the new one its own (spec: managed)."
        )
    certificates = made.get("certificates") or {}
    if certificates.get("serverTLSSecret"):
        notes.append(
            f"The Secret {certificates['serverTLSSecret']} with the server's certificate is used for the new one too: clients that verify names need one that "
            "has the new Services' names."
        )


def _archive(made: dict[str, Any], archive_as: str) -> None:
    store = (made.get("backup") or {}).get("barmanObjectStore")
    if store:
        store["serverName"] = archive_as
    for plugin in made.get("plugins") or ():
        if plugin.get("name") == BARMAN_PLUGIN:
            plugin["parameters"] = {**(plugin.get("parameters") or {}), "serverName": archive_as}


def _external(origin: str, store: BarmanStore) -> dict[str, Any]:
    if store.object_store:
        parameters = {"barmanObjectName": store.object_store, "serverName": store.server_name}
        return {"name": origin, "plugin": {"name": BARMAN_PLUGIN, "parameters": parameters}}
    return {
        "name": origin,
        "barmanObjectStore": {**copy.deepcopy(dict(store.configuration)), "serverName": store.server_name},
    }


def _data_source(snapshots: Snapshots) -> dict[str, Any]:
    def named(name: str) -> dict[str, str]:
        return {"apiGroup": _SNAPSHOT, "kind": "VolumeSnapshot", "name": name}

    found: dict[str, Any] = {"storage": named(snapshots.data)}
    if snapshots.wal:
        found["walStorage"] = named(snapshots.wal)
    if snapshots.tablespaces:
        found["tablespaceStorage"] = {space: named(name) for space, name in snapshots.tablespaces.items()}
    return found


def claims(spec: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The volumes of one instance, each with what it is asked for: the suffix of the claim's name, and its storage configuration."""
    found = [("", spec.get("storage") or {})]
    if spec.get("walStorage"):
        found.append(("-wal", spec["walStorage"]))
    found += [
        (f"-tbs-{one['name'].replace('_', '-')}", one.get("storage") or {}) for one in spec.get("tablespaces") or ()
    ]
    return found
