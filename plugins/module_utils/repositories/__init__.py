# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups are kept: one file a store, one interface (``base.Repository``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file import FileRepository


def open_repository(options: Mapping[str, Any]) -> Repository:
    """The store that the ``repository`` option names.

    Raises:
        BadOption: the option does not describe a store.
    """
    if not options.get("path"):
        raise BadOption("repository.path", options.get("path"), "is not a directory", "Name an absolute path.")
    return FileRepository(options["path"])
