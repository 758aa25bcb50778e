# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads Clusters, and what they refer to, from the API."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import (
    FILES,
    BarmanStore,
    SecretRef,
    store_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BARMAN_PLUGIN,
    CLUSTER,
    OBJECT_STORE,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import EVERYWHERE, Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
    NotInstalled,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE


def read(cluster: Cluster, name: str) -> CnpgCluster:
    """A Cluster of the namespace.

    Raises:
        Missing: there is none of that name.
        NotInstalled: CloudNativePG is not here.
        KubernetesError: it may not be read, or there was no answer.
    """
    found = cluster.get(CLUSTER, name)
    if found is None:
        raise Missing(f"There is no Cluster {name} of CloudNativePG in the namespace {cluster.namespace}.")
    return cluster_of(found)


def read_all(cluster: Cluster, everywhere: bool = False) -> list[CnpgCluster]:
    """All Clusters of the namespace, or of all. One whose store nobody knows is left out. Raises KubernetesError."""
    found = []
    for manifest in cluster.list(CLUSTER, namespace=EVERYWHERE if everywhere else None):
        try:
            found.append(cluster_of(manifest))
        except BadOption:
            continue
    return found


def operator_version(cluster: Cluster, of: CnpgCluster) -> Optional[str]:
    """The operator's, as it wrote it onto the primary's pod (``1.30.0``); None where that is not there, or may not be read."""
    if not of.primary:
        return None
    try:
        pod = cluster.get("Pod", of.primary, of.namespace or None)
    except Forbidden:
        return None
    annotations = ((pod or {}).get("metadata") or {}).get("annotations") or {}
    return annotations.get("cnpg.io/operatorVersion")


def store(cluster: Cluster, of: CnpgCluster) -> Optional[BarmanStore]:
    """Where it archives: by the plugin's ObjectStore, else in-tree; None: nowhere that is known here.

    Raises:
        NotInstalled: the plugin is asked for, and is not here.
        Missing: its ObjectStore is not there.
        KubernetesError: it may not be read.
        BadOption: its URL is none that is known.
    """
    plugin = next((one for one in of.plugins if one.name == BARMAN_PLUGIN), None)
    if plugin is None:
        return of.store
    name = plugin.parameters.get("barmanObjectName")
    if not name:
        raise BadOption(
            "barmanObjectName", name, f"is no parameter of the plugin in {of}", "It names the ObjectStore to archive into."
        )  # fmt: skip
    try:
        found = cluster.get(OBJECT_STORE, name, of.namespace or None)
    except NotInstalled as exc:
        raise NotInstalled(
            f"{of} archives by the plugin {BARMAN_PLUGIN}, which is not installed in this cluster ({OBJECT_STORE} is not known): it archives "
            "nothing. Install plugin-barman-cloud."
        ) from exc
    if found is None:
        raise Missing(
            f"The ObjectStore {name}, into which {of} archives, is not there: it archives nothing, and nobody knows where its backups lie. Make "
            "it again."
        )
    configuration = (found.get("spec") or {}).get("configuration") or {}
    return store_of(configuration, of.name, plugin.parameters.get("serverName"), name)


def stores_of_others(
    cluster: Cluster, of: Optional[CnpgCluster] = None
) -> tuple[list[tuple[CnpgCluster, Optional[BarmanStore]]], bool]:
    """Every other Cluster than ``of``, with where it archives (None: nowhere, or nobody knows); and whether those of other namespaces are among them. Raises
    KubernetesError: not even those of this one may be listed."""
    everywhere = True
    try:
        found = read_all(cluster, everywhere=True)
    except Forbidden:
        found, everywhere = read_all(cluster), False
    told: list[tuple[CnpgCluster, Optional[BarmanStore]]] = []
    for one in found:
        if of is not None and one.uid == of.uid:
            continue
        theirs = one.store
        if theirs is None and any(plugin.name == BARMAN_PLUGIN for plugin in one.plugins):
            with contextlib.suppress(HoldfastError):  # theirs is broken, or not ours to read
                theirs = store(cluster, one)
        told.append((one, theirs))
    return told, everywhere


def open_store(cluster: Cluster, of: BarmanStore, directory: str) -> Repository:
    """The store as a repository, reached as the Cluster reaches it. What is secret is read from the Secrets that it names, and files (a CA,
    Google's credentials) are written into ``directory``. Where the pods have a role of their own, whatever this host has is used.

    Raises:
        Missing: a Secret, or a key of it, is not there.
        KubernetesError: it may not be read.
        BadOption, RepositoryError: it cannot be opened.
    """
    options: dict[str, Any] = {name: spec.get("default") for name, spec in STORE.items()}
    options.update(of.options)
    for option, reference in of.secrets.items():
        value = _secret(cluster, reference)
        options[option] = _written(directory, option, value) if option in FILES else value.strip()
    return open_repository(options, "repository")


def open_as(given: Optional[Mapping[str, Any]], cluster: Cluster, of: BarmanStore, directory: str) -> Repository:
    """By what is given of how it is reached from here, else as the Cluster reaches it. Raises as these two do."""
    return open_given(given, of) if given else open_store(cluster, of, directory)


def open_given(given: Mapping[str, Any], of: BarmanStore) -> Repository:
    """The same by options of who reaches it otherwise (another endpoint, other credentials).

    Raises:
        BadOption: they are of another store, or another place in it.
    """
    for name in ("type", "bucket", "container", "prefix"):
        theirs, mine = of.options.get(name), given.get(name)
        if theirs is not None and str(mine or "").strip("/") != str(theirs):
            raise BadOption(
                f"repository.{name}", mine, f"is not where the Cluster archives: {theirs!r}, of {of.destination}", "Name that very place."
            )  # fmt: skip
    return open_repository(given, "repository")


def _secret(cluster: Cluster, reference: SecretRef) -> str:
    found = cluster.get("Secret", reference.secret)
    value = ((found or {}).get("data") or {}).get(reference.key)
    if value is None:
        what = f"has no key {reference.key}" if found else "is not there"
        raise Missing(
            f"The Secret {reference.secret} in the namespace {cluster.namespace}, by which the store is reached, {what}: the operator can "
            "archive nothing either."
        )
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, ValueError) as exc:
        raise KubernetesError(f"The key {reference.key} of the Secret {reference.secret} is no text.") from exc


def _written(directory: str, option: str, content: str) -> str:
    path = os.path.join(directory, option)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(content)
    return path
