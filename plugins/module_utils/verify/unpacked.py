# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole server's backup, unpacked into a scratch directory and looked at by PostgreSQL's own program."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.layout import Layout
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.units import size
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken

PROGRAM = "pg_verifybackup"


def verify_unpacked(shelf: Shelf, record: Record, secrets: Secrets, scratch: str, bin_dir: Optional[str]) -> Proof:
    """pg_verifybackup of one backup by itself: an incremental one has a list of its own files.

    Raises:
        Broken: pg_verifybackup refuses it.
        BadOption: the scratch directory has too little space.
        ToolError: the programs of its version are not here.
    """
    programs = server_programs(int(record.server["version_num"]), bin_dir)
    if not os.access(os.path.join(programs, PROGRAM), os.X_OK):
        raise ToolError(
            f"There is no {PROGRAM} in {programs}: it comes with the server's package. Or verify by level: content."
        )
    _check_space(record, scratch)
    directory = tempfile.mkdtemp(dir=scratch, prefix="unpacked-")
    try:
        data = os.path.join(directory, "data")
        spaces = {
            artifact.key.split(".")[0]: os.path.join(directory, artifact.key.split(".")[0])
            for artifact in record.artifacts
            if artifact.role == "tablespace"
        }
        layout = Layout(shelf, secrets, owner_of(directory), programs)
        layout.lay_out([record], data, spaces, Progress(None))
        try:
            layout.check_files(data)
        except CatalogError as exc:
            raise Broken("engine", str(exc)) from exc
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Proof(proven=[f"{record.id}: pg_verifybackup compared every file with PostgreSQL's own sums."])


def _check_space(record: Record, scratch: str) -> None:
    needed = record.raw_size if record.raw_size is not None else record.size
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise BadOption(
            "scratch_dir", scratch, f"has {size(free)} left, and unpacking {record.id} takes {size(needed)}",
            "Name a larger directory, or verify by level: content, which needs none.",
        )  # fmt: skip
