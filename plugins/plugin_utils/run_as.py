# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which user of a host does what concerns its server: asked of the host by one line of shell, decided here (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

VARIABLE = "holdfast_become_user"

# Where packages put sockets: Debian's and Red Hat's, and PostgreSQL's own default.
SOCKET_DIRECTORIES = ("/var/run/postgresql", "/run/postgresql", "/tmp")
# The server's own unit is the one whose main process it is; a session, or cron, has a unit too. ``$m`` is the process, ``$k`` what it is
# called in the answer.
_UNIT = (
    'u=$(sed -n "s,^.*/\\([^/]*\\)[.]service$,\\1,p" "/proc/$m/cgroup" | head -n 1); '
    '[ -n "$u" ] && [ "$(systemctl show --property=MainPID --value -- "$u")" = "$m" ] && echo "$k=$u"'
)
# Only the first of a server's processes has a parent that is none of them.
_FIRST = (
    'q=$(sed -n "s/^PPid:[[:space:]]*//p" "$p/status"); d=; read -r d <"/proc/$q/comm"; '
    f"case $d in postgres|postmaster) ;; *) m=${{p#/proc/}}; k=started; {_UNIT};; esac"
)
_LOCAL = ("", "localhost", "127.0.0.1", "::1")


class Unclear(Exception):
    """Nobody can tell whose server is meant. The text says what to do."""


@dataclass
class Seen:
    """What a host answered: who we are there, and who owns which server."""

    user: str = ""
    root: bool = False
    sudo: bool = False
    socket: str = ""  # the owner of the socket that was asked for
    directory: str = ""  # the owner of the data directory
    ports: list[str] = field(default_factory=list)  # owners of the servers that run at the port that was asked for
    processes: list[str] = field(default_factory=list)  # owners of the servers that run
    units: list[str] = field(default_factory=list)  # of systemd, by which those at that port were started
    started: list[str] = field(default_factory=list)  # the same of all servers
    package: str = ""  # postgres, where there is such a user


@dataclass(frozen=True)
class RunAs:
    """The user, and whether a task has to become it."""

    user: str
    become: bool
    method: str  # of become; empty: as ever


def question(directories: Sequence[str], port: int, data_directory: Optional[str]) -> str:
    """A line of shell whose answer ``read`` understands. It works as any user, with a POSIX shell and coreutils."""
    sockets = " ".join(shlex.quote(f"{directory}/.s.PGSQL.{port}") for directory in directories)
    directory = f"stat -c 'directory=%U' {shlex.quote(data_directory)} 2>/dev/null; " if data_directory else ""
    return (
        'echo "user=$(id -un)"; echo "uid=$(id -u)"; command -v sudo >/dev/null 2>&1 && echo sudo=yes; '
        f'for s in {sockets}; do [ -S "$s" ] && stat -L -c \'socket=%U\' "$s"; done; {directory}'
        'for p in /proc/[0-9]*; do read -r c 2>/dev/null <"$p/comm" || continue; '
        "case $c in postgres|postmaster) stat -c 'process=%U' \"$p\" 2>/dev/null; "
        # A server works in its data directory, and says there at which port (pidfile.h).
        f'[ "$(sed -n 4p "$p/cwd/postmaster.pid" 2>/dev/null)" = {port} ] && {{ stat -c \'port=%U\' "$p"; '
        f'm=$(sed -n 1p "$p/cwd/postmaster.pid"); k=unit; {_UNIT}; }} 2>/dev/null; '
        # In a container root may not look where a process works, and knows neither port nor directory.
        f"{{ {_FIRST}; }} 2>/dev/null;; "
        "esac; done | sort -u; "
        "id -u postgres >/dev/null 2>&1 && echo package=postgres; true"
    )


def read(answer: str) -> Seen:
    """The answer to ``question``; what else a login prints is passed over."""
    seen = Seen()
    for key, value in re.findall(r"^(\w+)=(\S+)\s*$", answer, re.MULTILINE):
        if key == "uid":
            seen.root = value == "0"
        elif key == "sudo":
            seen.sudo = True
        elif key in ("process", "port", "unit", "started"):
            {"process": seen.processes, "port": seen.ports, "unit": seen.units, "started": seen.started}[key].append(
                value
            )
        elif key in ("user", "socket", "directory", "package") and not getattr(seen, key):
            setattr(seen, key, value)
    return seen


def unit(seen: Seen) -> Optional[str]:
    """By which unit of systemd the server that was asked for runs; None: by none, or several servers run at that port. Where the port of
    none could be seen, it is the only one that runs."""
    found = seen.units or ([] if seen.ports else seen.started)
    return found[0] if len(found) == 1 else None


def is_local(host: Optional[str]) -> bool:
    """Whether the server is on the host of the play, as far as its address tells."""
    return (host or "") in _LOCAL or str(host).startswith("/")


def decide(seen: Seen, wanted: Optional[str], local: bool, becoming: bool = False) -> RunAs:
    """Who does it; ``becoming`` is whether who we are there is who we became.

    The one who is named; else, as root may do all and is nobody in PostgreSQL, the owner of the server; else who we are.

    Raises:
        Unclear: several servers run, of several owners.
    """
    if wanted and not re.fullmatch(r"[A-Za-z0-9_][\w.@-]*\$?", wanted):
        raise Unclear(f"{VARIABLE} is {wanted!r}, which is no user's name. Name the one who owns the server.")
    user = wanted or (_owner(seen) if seen.root and local else "") or seen.user
    # Where root logs in, sudo need not be installed; su needs no password of root.
    return RunAs(user, becoming or user != seen.user, "su" if seen.root and not seen.sudo else "")


def _owner(seen: Seen) -> str:
    for owner in (seen.socket, seen.directory):
        if owner and owner != "UNKNOWN":
            return owner
    if len(seen.ports) == 1 and seen.ports[0] not in ("root", "UNKNOWN"):
        return seen.ports[0]
    # A container's server may be of a user whom this host does not know: nobody can become that one.
    owners = [owner for owner in seen.processes if owner not in ("root", "UNKNOWN")]
    if len(owners) > 1:
        raise Unclear(
            f"Servers of {', '.join(owners)} run on this host, and none is at the port and socket that were named. Say whose server "
            f"it is by {VARIABLE}, or which one by holdfast_login_port and holdfast_login_unix_socket."
        )
    return owners[0] if owners else seen.package


def arguments(given: dict[str, Any]) -> tuple[list[str], int]:
    """Where its socket would be: directories, and the port."""
    host = str(given.get("login_host") or "")
    named = given.get("login_unix_socket") or (host if host.startswith("/") else "")
    return ([str(named)] if named else list(SOCKET_DIRECTORIES)), int(given.get("login_port") or 5432)
