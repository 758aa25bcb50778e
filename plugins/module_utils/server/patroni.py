# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that Patroni manages: recognised, and told by Patroni's own means.

Patroni writes a server's configuration and starts and stops it. What is changed past it is undone by it, or brings the cluster
apart. Source: https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import is_there, put, read
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import Change, differences

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_CACHE = "patroni.dynamic.json"  # in the data directory: the cluster's configuration, as Patroni last saw it
_HEAD = "will be overwritten by Patroni"


@dataclass(frozen=True)
class Managed:
    """A data directory of Patroni's. ``paused``: Patroni leaves its server alone (patronictl pause), as far as it told."""

    directory: str
    paused: bool


def recognise(directory: str) -> Optional[Managed]:
    """Whether Patroni manages a data directory; None: it does not, or the files may not be seen."""
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(directory, _CACHE), encoding="utf-8") as stream:
            found = json.load(stream)
        return Managed(directory, isinstance(found, dict) and found.get("pause") is True)
    with contextlib.suppress(OSError), open(os.path.join(directory, "postgresql.conf"), encoding="utf-8") as stream:
        if _HEAD in stream.read(1000):
            return Managed(directory, False)
    return None


def disown(directory: str, owner: str) -> bool:
    """Take Patroni's marks off a copy of a member, which is a member of nothing: else whoever comes to it takes it for one. Returns whether it
    had any. Nothing in it is another server's: never a directory in which Patroni's own server lies.

    Raises:
        ToolError: its postgresql.conf cannot be written.
    """
    if recognise(directory) is None:
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, _CACHE))
    path = os.path.join(directory, "postgresql.conf")
    with contextlib.suppress(FileNotFoundError):
        head, newline, rest = read(path).partition(b"\n\n")
        lines = [line for line in head.split(b"\n") if not (line.startswith(b"#") and _HEAD.encode() in line)]
        content = b"\n".join(lines) + newline + rest
        if not is_there(path, content, owner):
            put(path, content, owner)
    return True


class Patroni:
    """The REST API of a member. ``options``: ``url``, ``username``, ``password``, ``validate_certs``, ``ca_cert``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self.url = str(options["url"]).rstrip("/")

    def status(self) -> dict[str, Any]:
        """What the member says of itself: ``state``, ``role``, ``pause``, ``pending_restart``, ``patroni`` (``scope``). Raises
        ServerError."""
        return self._ask("GET", "/patroni")

    def configuration(self) -> dict[str, Any]:
        """The cluster's dynamic configuration. Raises ServerError."""
        return self._ask("GET", "/config")

    def members(self) -> list[dict[str, Any]]:
        """The cluster's members: ``name``, ``role``, ``state``, ``host``, ``port``, and ``pending_restart`` where one waits for it. Raises
        ServerError."""
        found = self._ask("GET", "/cluster").get("members")
        return [member for member in found if isinstance(member, dict)] if isinstance(found, list) else []

    def waiting(self) -> list[str]:
        """The names of the members whose servers wait for a restart: each can be the next leader. Raises ServerError."""
        return sorted(str(member.get("name")) for member in self.members() if member.get("pending_restart"))

    def check_same(self, connection: Connection) -> None:
        """Whether the server that we are connected to is a member of this cluster: several clusters run on one host, and each answers
        at its own port.

        Raises:
            ServerError: it is not, or it cannot be told.
        """
        status = self.status()
        identity = facts.identify(connection)
        theirs, ours = str(status.get("database_system_identifier") or ""), str(identity.system_id or "")
        scope = str((status.get("patroni") or {}).get("scope") or "")
        named = facts.setting(connection, "cluster_name") or ""
        port = facts.setting(connection, "port") or ""
        differs = []
        if not theirs or theirs != ours:
            differs.append(f"system identifier {theirs or 'unknown'}, this server {ours or 'unknown'}")
        if scope and named and scope != named:
            differs.append(f"scope {scope!r}, this server's cluster_name {named!r}")
        if not differs and port not in {str(member.get("port")) for member in self.members()}:
            differs.append(f"no member at port {port}, where this server listens")
        if differs:
            raise ServerError(
                f"Patroni at {self.url} is another cluster's than this server's: it has {'; '.join(differs)}. Nothing was changed. Name the "
                "REST API of this server's own Patroni by patroni.url (restapi.connect_address in its configuration)."
            )

    def parameters(self, names: Sequence[str]) -> dict[str, str]:
        """The PostgreSQL settings among ``names`` that the dynamic configuration has. Raises ServerError."""
        found = (self.configuration().get("postgresql") or {}).get("parameters") or {}
        return {name: str(found[name]) for name in names if found.get(name) is not None}

    def change(self, patch: Mapping[str, Any]) -> None:
        """Change the dynamic configuration; None takes something out. Raises ServerError."""
        self._ask("PATCH", "/config", patch)

    def apply(self, connection: Connection, changes: Sequence[Change], timeout: float = 60) -> None:
        """Change settings of all members, and wait until this one's server has them, or waits for a restart. What ALTER SYSTEM
        said of them before would take precedence over Patroni's, and is taken away.

        Raises:
            ServerError: Patroni refused, or this member did not take them.
        """
        self.change({"postgresql": {"parameters": {change.name: change.after for change in changes}}})
        self._forget(connection, [change.name for change in changes])
        wanted = {change.name: change.after for change in changes}
        until = time.monotonic() + timeout
        while True:
            left = differences(connection, wanted)
            if not left:
                return
            if time.monotonic() > until:
                raise ServerError(
                    f"Patroni at {self.url} took the settings, and after {timeout:g} seconds its server still lacks "
                    f"{', '.join(change.name for change in left)}. Patroni's log says why; it keeps some settings for itself."
                )
            time.sleep(0.2)

    @staticmethod
    def _forget(connection: Connection, names: Sequence[str]) -> None:
        from psycopg2 import sql

        found = facts.rows(
            connection,
            "SELECT DISTINCT name FROM pg_file_settings WHERE sourcefile LIKE '%%/postgresql.auto.conf' AND name = ANY(%s)",
            [list(names)],
        )
        with connection.cursor() as cursor:
            for row in found:
                cursor.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(row["name"])))
            if found:
                cursor.execute("SELECT pg_reload_conf()")

    def _ask(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
        options = self._options
        try:
            with contextlib.closing(
                open_url(
                    self.url + path,
                    method=method,
                    data=None if body is None else json.dumps(body),
                    headers={"Content-Type": "application/json"},
                    url_username=options.get("username"),
                    url_password=options.get("password"),
                    force_basic_auth=bool(options.get("username")),
                    validate_certs=options.get("validate_certs", True),
                    ca_path=options.get("ca_cert"),
                    timeout=10,
                )
            ) as answer:
                text = answer.read()
        except HTTPError as exc:
            text = exc.read()
            # A member that is no primary answers with 503, and says all the same.
            if method != "GET" or exc.code != 503:
                hint = "Give patroni.username and patroni.password." if exc.code in (401, 403) else "Its log says more."
                raise ServerError(
                    f"Patroni at {self.url} refused {method} {path}: {exc.code} {text.decode('utf-8', 'replace')[:200]}. {hint}"
                ) from exc
        except (URLError, OSError) as exc:
            raise ServerError(
                f"Patroni at {self.url} does not answer: {getattr(exc, 'reason', exc)}. Patroni manages this server, so its settings "
                "go through Patroni. Name its REST API by patroni.url."
            ) from exc
        try:
            found = json.loads(text)
        except ValueError as exc:
            raise ServerError(f"What answers at {self.url} is not Patroni. Name its REST API by patroni.url.") from exc
        return found if isinstance(found, dict) else {}


def refuse_restore(directory: str) -> None:
    """Raises ServerError: Patroni would start, stop or replace what is restored there."""
    managed = recognise(directory)
    if managed is not None and not managed.paused:
        raise ServerError(
            f"{directory} is managed by Patroni, which would start what is being restored, or replace it by another member's. First "
            "`patronictl pause --wait`; then restore here, on the leader; then, on each replica, `patronictl reinit CLUSTER MEMBER`, as "
            "it cannot follow the new timeline; then `patronictl resume`. If Patroni no longer manages it, delete "
            f"{directory}/{_CACHE} and the first lines of its postgresql.conf."
        )


_CONFIGURATIONS = (
    "/etc/patroni.yml",
    "/etc/patroni.yaml",
    "/etc/patroni/*.yml",
    "/etc/patroni/*.yaml",
    "/etc/patroni/*/*.yml",
)
# Our own reading of one key: hosts need not have a library for YAML.
_DATA_DIR = re.compile(r"^\s*[\"']?data_dir[\"']?\s*:\s*[\"']?([^\"'#\n]+?)[\"']?\s*(?:#.*)?$", re.MULTILINE)


def configured_for(directory: str) -> Optional[str]:
    """Whose configuration names a data directory, which need not hold anything yet: a file of Patroni's, or a running Patroni; None: nobody's
    that can be seen."""
    wanted = os.path.realpath(directory)
    files = {path for pattern in _CONFIGURATIONS for path in glob.glob(pattern)}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as stream:
                argv = stream.read().split("\0")
            if not any(os.path.basename(word).startswith("patroni") for word in argv[:3]):
                continue
            here = os.readlink(f"/proc/{name}/cwd")
            files |= {os.path.join(here, word) for word in argv if word.endswith((".yml", ".yaml"))}
            with open(f"/proc/{name}/environ", encoding="utf-8", errors="replace") as stream:
                for pair in stream.read().split("\0"):
                    key, _equals, value = pair.partition("=")
                    if key == "PATRONI_POSTGRESQL_DATA_DIR" and os.path.realpath(value) == wanted:
                        return f"the running Patroni (process {name})"
    for path in sorted(files):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            if any(os.path.realpath(found.strip()) == wanted for found in _DATA_DIR.findall(stream.read())):
                return path
    return None


def refuse_standby(directory: str) -> None:
    """Raises ServerError: Patroni makes and promotes its standbys itself, also where there is nothing yet."""
    named_by = None if recognise(directory) is not None else configured_for(directory) if directory else None
    if named_by is not None:
        raise ServerError(
            f"{directory} is a member's of Patroni: {named_by} names it as data_dir. Patroni makes its members itself: start it there, or "
            "`patronictl reinit CLUSTER MEMBER`. If Patroni no longer manages it, take that configuration away."
        )
    if recognise(directory) is not None:
        raise ServerError(
            f"{directory} is managed by Patroni, which makes, rewinds and promotes its members itself. To make it anew: `patronictl "
            "reinit CLUSTER MEMBER`; to promote: `patronictl switchover` or `patronictl failover`. state: verified works here too."
        )
