# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups are kept: one folder a store, one interface (``base.Repository``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure import client as azure
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.store import Azure
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs import client as gcs
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.store import Gcs
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import (
    STORE,
    STORES,
    is_given,
    shown,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import client as s3
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.store import S3
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import MIB, Store, Transfer
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository

_Store = tuple[Callable[[Mapping[str, Any], Transfer], Store], Callable[[Mapping[str, Any]], str]]
_STORES: Mapping[str, _Store] = {
    "s3": (S3, s3.describe),
    "azure": (Azure, azure.describe),
    "gcs": (Gcs, gcs.describe),
}


def _with_secret(options: Mapping[str, Any], option: str) -> Mapping[str, Any]:
    """The options with what the ``credentials`` dictionary says. Raises BadOption for a name that is not known."""
    given = options.get("credentials") or {}
    known = {name: field for field, names in STORES[options["type"]].credentials.items() for name in names}
    strange = [name for name in given if name not in known]
    if strange:
        raise BadOption(
            f"{option}.credentials",
            strange,
            f"is no key of a secret for type {options['type']}",
            f"Known are: {', '.join(known)}.",
        )
    found = {known[name]: value for name, value in given.items()}
    return {
        **options,
        "credentials": None,
        **{field: value for field, value in found.items() if not options.get(field)},
    }


def check_store(options: Mapping[str, Any], option: str = "repository") -> Mapping[str, Any]:
    """The options, made whole. Raises BadOption: they do not describe a store, or have what is another store's."""
    options = _with_secret(options, option)
    kind = options["type"]
    for name in STORES[kind].required:
        if not options.get(name):
            raise BadOption(f"{option}.{name}", options.get(name), f"is missing for type {kind}", "Name it.")
    for name in STORE:
        if is_given(options, name) and name not in STORES[kind].spec and name not in ("type", "credentials"):
            kinds = " or ".join(other for other, store in STORES.items() if name in store.spec)
            raise BadOption(
                f"{option}.{name}", shown(options, name), f"does not go with type {kind}", f"It is of type {kinds}."
            )
    if kind == "file":
        if not os.path.isabs(os.path.expanduser(options["path"])):
            raise BadOption(
                f"{option}.path",
                options["path"],
                "is relative to wherever the module happens to run",
                "Write it from / on.",
            )
        return options
    if options["part_size"] < 5 * MIB:
        raise BadOption(
            f"{option}.part_size", options["part_size"], "is too small", "Stores take 5 MiB or more (in bytes)."
        )
    if options["concurrency"] < 1:
        raise BadOption(f"{option}.concurrency", options["concurrency"], "is not a number of parts", "Use 1 or more.")
    if bool(options.get("object_lock")) != bool(options.get("object_lock_for")):
        raise BadOption(
            f"{option}.object_lock", options.get("object_lock"), "and object_lock_for go together",
            "Say how long objects are locked, such as object_lock_for: 30d.",
        )  # fmt: skip
    return options


def open_repository(options: Mapping[str, Any], option: str = "repository") -> Repository:
    """The store that the ``repository`` option names.

    Raises:
        BadOption: the option does not describe a store.
        RepositoryError: the store's library is missing.
    """
    options = check_store(options, option)
    if options["type"] == "file":
        return FileRepository(options["path"])
    transfer = Transfer(options["part_size"], options["concurrency"], options.get("bandwidth_limit"))
    make, describe = _STORES[options["type"]]
    return ObjectRepository(lambda: make(options, transfer), describe(options), options["prefix"], transfer)


def named_repositories(params: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """The tiers that ``repository`` or ``repositories`` describe: name, options, and the option that says so.

    Raises:
        BadOption: two have the same name.
    """
    if not params.get("repositories"):
        return [("the repository", params["repository"], "repository")]
    found: list[tuple[str, Mapping[str, Any], str]] = []
    for number, options in enumerate(params["repositories"]):
        where = f"repositories[{number}]"
        name = options["name"] or f"{options['type']} {number + 1}"
        if name in [other for other, _options, _where in found]:
            raise BadOption(f"{where}.name", name, "is another one's name too", "Give each a name of its own.")
        found.append((name, options, where))
    return found
