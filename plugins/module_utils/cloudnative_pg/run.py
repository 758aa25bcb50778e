# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cnpg_backup: options in, result out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import reading
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup import CnpgBackup, CnpgRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

Params = Mapping[str, Any]


def connects(params: Params) -> bool:
    """Whether a login is given."""
    return any(params[name] for name in ("login_host", "login_unix_socket", "login_user", "connect_params"))


def back_up(params: Params, cluster: Cluster, check: bool, diff: bool, warnings: list[str]) -> dict[str, Any]:
    """Make one, unless there is enough. Raises HoldfastError."""
    request = CnpgRequest(
        params["cluster"],
        params["method"],
        params["target"],
        params["online"],
        params["immediate_checkpoint"],
        parse_duration(params["max_age"], "max_age") if params["max_age"] else None,
        float(parse_duration(params["deadline"], "deadline")),
        float(parse_duration(params["wal_timeout"], "wal_timeout")),
    )
    progress = Progress(None if check else params["progress_file"])
    cluster.tell = progress.step
    with contextlib.ExitStack() as stack:
        stack.callback(progress.finish)
        space = stack.enter_context(workspace())
        connected = stack.enter_context(connection(params, cluster, space))

        def opened(store: BarmanStore) -> StoreArchive:
            return StoreArchive(reading.open_as(params["repository"], cluster, store, space), store.server_name)

        backup = CnpgBackup(cluster, request, connected, opened, progress, warnings)
        done = backup.run(check)
    answer: dict[str, Any] = {"changed": done.changed, "plan": done.plan, "proof": done.proof.describe()}
    if done.record is not None:
        answer["backup"] = done.record.to_dict()
    if done.name is not None:
        answer["backup_object"] = done.name
    if done.point is not None:
        point = done.point
        answer["restore_point"] = {
            "name": point.name,
            "lsn": point.lsn,
            "segment": point.segment,
            "time": format_time(point.time),
        }
    if diff:
        answer["diff"] = {"prepared": "".join(f"+ {step}\n" for step in done.plan)}
    return answer


@contextlib.contextmanager
def connection(params: Params, cluster: Cluster, space: str) -> Iterator[Optional[Any]]:
    """To the primary, by its Service where no host is given; None without a login. Raises ServerError."""
    if not connects(params):
        yield None
        return
    if not params["login_host"] and not params["login_unix_socket"] and not params["connect_params"].get("host"):
        params = {**params, "login_host": f"{params['cluster']}-rw.{cluster.namespace}.svc"}
    with contextlib.closing(Address(params, space).connect()) as connected:
        yield connected
