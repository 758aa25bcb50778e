# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which hosts a role changes a server: one, by name, unless told otherwise; and what was confirmed for which of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import as_list

MANY = "holdfast_many"


def several(role: str, hosts: Sequence[str], allowed: Optional[bool]) -> list[str]:
    """Why a role must not run on so many. ``allowed``: what holdfast_many says; None: that it does not matter for this role."""
    if len(hosts) < 2 or allowed:
        return []
    shown = ", ".join(hosts[:5]) + (", …" if len(hosts) > 5 else "")
    many = f", or let it run on all of them by {MANY}: true" if allowed is not None else ""
    return [
        f"The role {role} changes a server, and this play targets {len(hosts)} hosts ({shown}). Nothing was done. "
        f"Name one by --limit or holdfast_hosts{many}."
    ]


def listed(entries: Union[str, Sequence[str]]) -> list[str]:
    """What is confirmed, also from the command line or a survey: ``db1/shop,db1/blog``."""
    return [str(entry) for entry in (as_list(entries) if isinstance(entries, str) else entries) if entry]


def confirmed(entries: Union[str, Sequence[str]], host: str, hosts: Sequence[str], paths: bool = False) -> list[str]:
    """What was confirmed for ``host``, without the host.

    An entry is ``name`` or ``host/name``; with ``paths`` a name begins with a slash, and is written after the host as it is
    (``db1/var/lib/pgsql/data``) or after another slash. Where a play has several ``hosts``, a name alone confirms nothing.
    """
    found = []
    for entry in listed(entries):
        rest = entry[len(host) + 1 :].lstrip("/") if entry.startswith(f"{host}/") else ""
        if rest:
            found.append(f"/{rest}" if paths else rest)
        if len(hosts) < 2:
            found.append(entry)
    return list(dict.fromkeys(found))


def with_host(entries: Sequence[str], host: str) -> list[str]:
    """What was confirmed, as it is confirmed for ``host`` and for no other one; ``confirmed`` reads it."""
    return [f"{host}{entry if entry.startswith('/') else f'/{entry}'}" for entry in entries]


def without_host(variable: str, entries: Union[str, Sequence[str]], hosts: Sequence[str]) -> list[str]:
    """A sentence, where a play has several hosts and something was confirmed without naming one."""
    if len(hosts) < 2:
        return []
    bare = [entry for entry in listed(entries) if not any(entry.startswith(f"{host}/") for host in hosts)]
    if not bare:
        return []
    return [
        f"{variable} has {', '.join(bare)}, and this play targets {len(hosts)} hosts: there it takes host/name, such as "
        f"{hosts[0]}/{bare[0].lstrip('/')}."
    ]
