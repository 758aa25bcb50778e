# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups are kept: one folder a store, one interface (``base.Repository``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure import (
    bucket as azure_bucket,
    client as azure,
    errors as azure_errors,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.store import Azure
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import Arrange
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs import (
    bucket as gcs_bucket,
    client as gcs,
    errors as gcs_errors,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.store import Gcs
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import (
    STORE,
    STORES,
    is_given,
    shown,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import (
    bucket as s3_bucket,
    client as s3,
    errors as s3_errors,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.store import S3
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import MIB, Store, Transfer
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository


@dataclass(frozen=True)
class ObjectStore:
    """What is in a store's folder: its class, how its options are named in a message, what arranges a bucket there, and what says what an
    error of its library means (what was being done, the error, the options)."""

    made_by: Callable[[Mapping[str, Any], Transfer], Store]
    describe: Callable[[Mapping[str, Any]], str]
    arrange: Arrange
    explain: Callable[[str, Exception, Mapping[str, Any]], HoldfastError]


#: the stores that are no directory; their options are in options.py, their libraries in libraries.py, under the same names
OBJECT_STORES: Mapping[str, ObjectStore] = {
    "s3": ObjectStore(
        S3,
        s3.describe,
        s3_bucket.arrange,
        lambda doing, exc, options: s3_errors.explain(doing, exc, options, f"s3://{options['bucket']}"),
    ),
    "azure": ObjectStore(Azure, azure.describe, azure_bucket.arrange, azure_errors.explain),
    "gcs": ObjectStore(
        Gcs, gcs.describe, gcs_bucket.arrange, lambda doing, exc, options: gcs_errors.explain(doing, exc)
    ),
}


def describe(options: Mapping[str, Any]) -> str:
    """Where backups are kept, as messages name it: a path or a URL."""
    if options["type"] == "file":
        return str(options["path"])
    return OBJECT_STORES[options["type"]].describe(options)


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
    store = OBJECT_STORES[options["type"]]
    return ObjectRepository(
        lambda: store.made_by(options, transfer), store.describe(options), options["prefix"], transfer
    )


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
