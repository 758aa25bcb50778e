# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer in front of a lab server, where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .servers import PASSWORD, SUPERUSER, Server, free_port, system_user

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pgbouncer(server: Server, mode: str, **settings: Any) -> Iterator[dict[str, Any]]:
    """The login options by which a server is reached through a pooler of this mode. ``settings`` are those of pgbouncer.ini."""
    assert PROGRAM
    place = server.server_directory("pgbouncer")
    port = free_port()
    users = place / "users.txt"
    users.write_text(f'"{SUPERUSER}" "{PASSWORD}"\n')
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": users,
        "pool_mode": mode,
        "ignore_startup_parameters": "extra_float_digits,options",
        "logfile": place / "log",
        **settings,
    }
    lines = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]"]
    ini = place / "pgbouncer.ini"
    ini.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in chosen.items())]) + "\n")
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = system_user()
        for path in (users, ini):
            os.chown(path, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    process = subprocess.Popen(
        [PROGRAM, "-q", str(ini)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **who
    )
    try:
        _listens(port, Path(str(place / "log")))
        yield {**server.login(), "login_port": port, "ssl_mode": "disable"}
    finally:
        process.kill()
        process.wait()


def _listens(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text() if log.exists() else "pgbouncer does not listen")
        time.sleep(0.02)
