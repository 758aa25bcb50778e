# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby by its options: who it follows, from where its files come, and who we are on either side."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import open_repository_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import Ownership
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import physical_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import options as recovery_options
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host, data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, own_unit
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import (
    config_dir,
    make_config_dir,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.packaged import data_directory_of, packaged
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.following import Following, ask, drop_slot
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint, endpoints
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.promote import (
    Limits,
    Primary,
    PromotionRequest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def with_directory(params: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the data directory, which a host of Debian's tells where it is not named. Raises BadOption."""
    return {**params, "data_directory": params["data_directory"] or data_directory_of(packaged(), params["login_port"])}


def check_options(params: Mapping[str, Any]) -> None:
    """Raise BadOption for options that do not go together, or lack."""
    if params["state"] == "present" and not params["primary_host"]:
        raise BadOption("primary_host", None, "is missing, and a standby follows somebody", "Name the primary's host.")
    if params["source"] == "backup" and not params["repository"]:
        raise BadOption(
            "source", "backup", "needs the option repository", "Name the repository, or use source: primary."
        )
    if params["state"] == "present" and "service" in params["connect_params"]:
        raise BadOption(
            "connect_params",
            "service",
            "is a file of who runs this; the standby's server would look for it in its own home, and find none",
            "Give host, port and TLS by primary_host, primary_port, ssl_mode, ca_cert and connect_params.",
        )
    for option, name in [("slot_name", params["slot_name"]), *(("drop_slots", name) for name in params["drop_slots"])]:
        if not name or re.fullmatch("[a-z0-9_]{1,63}", name):
            continue
        raise BadOption(
            option,
            name,
            "is no name of a slot",
            "Use up to 63 small letters, digits and underscores.",
        )


#: what speaks of the primary in connect_params, and not of the standby's own socket
_OF_THE_PRIMARY = ("hostaddr", "target_session_attrs", "load_balance_hosts")


def _own_params(params: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in params["connect_params"].items() if key not in _OF_THE_PRIMARY}


def _primary_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """``connect_params`` for the primary: of several servers the one that is the primary, unless something else is said."""
    given = dict(params["connect_params"])
    several = len(endpoints({**given, "host": params["primary_host"]})) > 1
    return {**({"target_session_attrs": "primary"} if several else {}), **given}


def default_name(data_directory: str) -> str:
    """A name for a standby that a slot can have, and no other standby has: hosts share short names, and a host has several servers."""
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii") as stream:
        return _name(stream.read().strip(), data_directory)
    return _name("", data_directory)


def _name(machine: str, data_directory: str) -> str:
    host = socket.gethostname()
    which = hashlib.sha256(f"{host} {machine} {os.path.realpath(data_directory)}".encode()).hexdigest()[:8]
    return f"standby_{re.sub('[^a-z0-9_]', '_', host.split('.')[0].lower())[:40]}_{which}"


def asker(
    params: Mapping[str, Any], space: str
) -> tuple[Callable[[Local], Optional[Following]], Callable[[Local, str], None]]:
    """How the standby on this host is asked whom it follows, and told to drop a slot of its own: over its own socket, by the login options,
    else as the primary is, whose roles it has."""

    def connect_to(local: Local) -> Connection:
        found = local.socket() or ("", 5432)
        own = params["login_user"] is not None
        folder = os.path.join(space, "standby")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        options = {
            **params,
            "connect_params": _own_params(params),
            "login_unix_socket": None if params["login_host"] else params["login_unix_socket"] or found[0],
            "login_port": params["login_port"] or found[1],
            "login_user": params["login_user"] if own else params["primary_user"],
            "login_password": params["login_password"] if own else params["primary_password"],
        }
        return Address(options, folder).connect()

    database = params["login_db"]
    return (
        lambda local: ask(local, lambda: connect_to(local), database),
        lambda local, name: drop_slot(local, lambda: connect_to(local), database, name),
    )


def request(params: Mapping[str, Any], restore_command: Optional[str]) -> StandbyRequest:
    """What is wanted. Raises BadOption."""
    slot = default_name(params["data_directory"]) if params["slot_name"] is None else params["slot_name"]
    slot = "" if slot == "none" else slot
    extra = {str(key): str(value) for key, value in _primary_params(params).items() if key != "password"}
    parts = {
        "host": params["primary_host"],
        "port": str(params["primary_port"]),
        "user": params["replication_user"] or params["primary_user"],
        "sslmode": params["ssl_mode"] or "prefer",
        "sslrootcert": params["ca_cert"],
        "sslcert": params["ssl_cert"],
        "sslkey": params["ssl_key"],
        **extra,
    }
    own = params["replication_user"] is not None
    owner = data_owner(params["data_directory"], params["owner"])
    return StandbyRequest(
        **{**recovery_options.directory_options(params), "service": _unit(params)},
        owner=owner,
        config_dir=config_dir(params, owner),
        name=slot or default_name(params["data_directory"]),
        slot=slot or None,
        link={name: value for name, value in parts.items() if value},
        password=params["replication_password"] if own else params["primary_password"],
        admin_password=params["primary_password"],
        restore_command=restore_command,
        server_name=params["server_name"],
        drop_slots=tuple(params["drop_slots"]),
        rewind=params["rewind"],
        max_rate=params["max_rate"],
        timeout=params["timeout"],
    )


def _unit(params: Mapping[str, Any]) -> Optional[str]:
    """The unit of the server that is in the directory now. Raises BadOption: another one's is named."""
    return own_unit(Instance(params["data_directory"], "", "").pid(), params["service"])


def upstream(params: Mapping[str, Any], space: str) -> Upstream:
    """The primary that the options name. Raises HoldfastError."""

    def address(user: Optional[str], password: Optional[str], name: str) -> Address:
        folder = os.path.join(space, name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return Address(
            {
                **params,
                "connect_params": _primary_params(params),
                "login_host": params["primary_host"],
                "login_unix_socket": None,
                "login_port": params["primary_port"],
                "login_user": user,
                "login_password": password,
                "login_db": params["primary_db"],
            },
            folder,
        )

    admin = address(params["primary_user"], params["primary_password"], "primary")
    if params["replication_user"] is None:
        return Upstream(admin, admin)
    return Upstream(admin, address(params["replication_user"], params["replication_password"], "replication"))


def connect(params: Mapping[str, Any], space: str) -> Connection:
    """A connection to the standby: by the login options, else over the socket that its data directory tells of. Raises
    HoldfastError."""
    found: Optional[tuple[str, int]] = None
    if params["data_directory"] and not params["login_host"] and not params["login_unix_socket"]:
        directory = params["data_directory"]
        found = Local(Instance(directory, "", "")).socket() if os.path.isdir(directory) else None
    host, port = found or (params["login_unix_socket"], 5432)
    options = {
        **params,
        "connect_params": {
            key: value for key, value in params["connect_params"].items() if key != "target_session_attrs"
        },
        "login_unix_socket": host,
        "login_port": params["login_port"] or port,
    }
    return Address(options, space).connect()


def promotion(params: Mapping[str, Any], space: str, connection: Connection) -> PromotionRequest:
    """What is asked of a promotion. Raises HoldfastError."""
    return PromotionRequest(
        primary=_primary(params, space, connection),
        limits=limits(params),
        force=params["force"],
        confirm=params["confirm"],
        synchronous=params["synchronous_standbys"],
        timeout=params["timeout"],
        connect=lambda endpoint: _connect_to(params, space, endpoint),
        unreplayed=lambda replayed: _unreplayed(params, connection, replayed),
    )


def _connect_to(params: Mapping[str, Any], space: str, endpoint: Endpoint) -> Connection:
    """Another server of the cascade: all of them have the primary's roles. Raises HoldfastError."""
    host = endpoint.address or endpoint.host
    folder = os.path.join(space, f"cascade.{endpoint.port}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    named = params["primary_user"] is not None and params["primary_password"] is not None
    options = {
        **params,
        "connect_params": {
            key: value for key, value in _own_params(params).items() if key not in ("host", "port", "service")
        },
        "login_host": None if host.startswith("/") else host,
        "login_unix_socket": host if host.startswith("/") else None,
        "login_port": endpoint.port,
        "login_user": params["primary_user"] if named else params["login_user"],
        "login_password": params["primary_password"] if named else params["login_password"],
    }
    return Address(options, folder).connect()


def limits(params: Mapping[str, Any]) -> Limits:
    """How far it may lag."""
    return Limits(params["max_lag_bytes"], params["max_lag_seconds"], params["accept_unknown_lag"])


def _primary(params: Mapping[str, Any], space: str, connection: Connection) -> Primary:
    """The server that a standby follows: as the options name it, and as its own primary_conninfo does."""
    from psycopg2.extensions import parse_dsn

    own = facts.setting(connection, "primary_conninfo")
    if own is None:
        raise ServerError(
            "The role may not see which primary this server follows (primary_conninfo). Use a superuser, or grant it pg_read_all_settings."
        )
    found = endpoints(parse_dsn(own)) if own else []
    if not params["primary_host"]:
        return Primary(found)
    named = endpoints({"host": params["primary_host"], "port": str(params["primary_port"])})
    found = [*named, *(endpoint for endpoint in found if not any(endpoint.same_as(other) for other in named))]
    return Primary(found, named, lambda: upstream(params, space))


def _unreplayed(params: Mapping[str, Any], connection: Connection, replayed: str) -> Optional[int]:
    """Local.ended_cleanly, where the standby's files are on this host; None: they are not, or it does not tell."""
    directory = facts.setting(connection, "data_directory") or params["data_directory"]
    if not directory or not os.path.isdir(os.path.join(directory, "pg_wal")):
        return None
    try:
        identity = facts.identify(connection)
        programs = server_programs(identity.version_num, params["bin_dir"])
        local = Local(Instance(directory, programs, owner_of(directory)))
        if identity.system_id not in (None, local.system_id()):
            return None  # another server's directory, of the same path
        return local.ended_cleanly(Lsn.parse(replayed, "position"))
    except (HoldfastError, OSError):
        return None


def backups(params: Mapping[str, Any], secrets: Secrets, directory: Optional[str]) -> PhysicalSource:
    """Where backups are; ``directory`` None: an engine's configuration is written to its place on this host. Raises HoldfastError."""
    owner = data_owner(params["data_directory"], params["owner"])
    return recovery_options.source(params, secrets, directory or config_dir(params, owner))


def archive(params: Mapping[str, Any], check: bool) -> Optional[WalArchive]:
    """The WAL archive that the options describe, with what its engine needs on this host, unless ``check``; None: no repository is
    named. Raises HoldfastError."""
    if not params["repository"]:
        return None
    name = physical_engine(params, copies=True)
    if name == "pg_basebackup":
        found = recovery_options.source({**params, "engine": name}, Secrets({}, ""), "").wal
        if found is None:
            raise BadOption(
                "repository", params["repository"].get("path"), "holds no WAL of this server_name that this host can read",
                "Mount the archive's directory here, check server_name, or leave the repository out.",
            )  # fmt: skip
        return found
    host = Host.of_directory(params["data_directory"], params["owner"], params["login_user"], params["bin_dir"])
    directory = config_dir(params, host.owner)
    make_config_dir(directory, host.owner, check)
    if Ownership(params, host).is_anothers:
        # Such as the primary's, on the same host: by it that one archives.
        directory = os.path.join(directory, default_name(params["data_directory"]))
    engine = open_repository_engine(name, {**params, "config_dir": directory}, host)
    engine.configure(check)
    return engine.wal
