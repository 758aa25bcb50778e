# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of all stores in one, as modules take them. Each store says its own in ``<store>/options.py``, once; from there come the
arguments of modules, what is refused with another store, and what an engine has to translate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure import options as azure
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import StoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file import options as file
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs import options as gcs
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import options as s3

STORES: Mapping[str, StoreOptions] = {
    "file": file.OPTIONS,
    "s3": s3.OPTIONS,
    "azure": azure.OPTIONS,
    "gcs": gcs.OPTIONS,
}

#: the argument specification of every option that describes a store
STORE: dict[str, Any] = {
    "type": {"type": "str", "choices": list(STORES), "default": "file"},
    "credentials": {"type": "dict", "no_log": True},
    **{name: spec for store in STORES.values() for name, spec in store.spec.items()},
}


def is_given(options: Mapping[str, Any], name: str) -> bool:
    """Whether the user said something by an option that is not its default."""
    return options.get(name) not in (None, STORE[name].get("default"))


def shown(options: Mapping[str, Any], name: str) -> object:
    """An option's value as messages may show it."""
    return "(hidden)" if STORE[name].get("no_log") else options.get(name)


def refuse_untaken(options: Mapping[str, Any], taken: Collection[str], who: str) -> None:
    """For a program that is told of a store: an option that its translation does not know is refused, never ignored. ``taken`` are those
    that it translates, or that are none of its business.

    Raises:
        BadOption: one is given that is not among them.
    """
    for name in STORES[options["type"]].spec:
        if name not in taken and is_given(options, name):
            raise BadOption(
                f"repository.{name}",
                shown(options, name),
                f"is nothing that {who} can be told",
                "Leave it out, or use another engine.",
            )
