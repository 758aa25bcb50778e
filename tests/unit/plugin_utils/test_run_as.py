# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what concerns the server: the one who is named, else its owner where root would, else who we are."""

from __future__ import annotations

import getpass
import os
import subprocess

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.run_as import (
    RunAs,
    Seen,
    Unclear,
    arguments,
    decide,
    is_local,
    question,
    read,
    unit,
)


def root(**more: object) -> Seen:
    return Seen(user="root", root=True, sudo=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "wanted", "local", "user"),
    [
        (root(socket="pgowner", package="postgres"), None, True, "pgowner"),
        (root(directory="enterprisedb", package="postgres"), None, True, "enterprisedb"),
        (root(processes=["pg"], package="postgres"), None, True, "pg"),
        (root(processes=["UNKNOWN", "pg"], package="postgres"), None, True, "pg"),
        (root(package="postgres"), None, True, "postgres"),
        (root(socket="UNKNOWN", processes=["root"], package="postgres"), None, True, "postgres"),
        (root(), None, True, "root"),  # a host that has no server
        (root(socket="postgres"), None, False, "root"),  # the server is elsewhere
        (root(socket="postgres"), "backup", True, "backup"),
        (root(socket="postgres"), "root", True, "root"),
        (Seen(user="ada", sudo=True, socket="postgres"), None, True, "ada"),  # no rights are taken that were not given
        (Seen(user="postgres", socket="postgres"), None, True, "postgres"),
    ],
)
def test_who(seen: Seen, wanted: str | None, local: bool, user: str) -> None:
    assert decide(seen, wanted, local) == RunAs(user, user != seen.user, "")


def test_what_we_became_stays() -> None:
    """-b --become-user postgres: the user is right, and goes on being become."""
    assert decide(Seen(user="postgres"), None, True, becoming=True) == RunAs("postgres", True, "")


def test_root_without_sudo() -> None:
    assert decide(Seen(user="root", root=True, socket="postgres"), None, True) == RunAs("postgres", True, "su")


def test_servers_of_several_owners() -> None:
    with pytest.raises(Unclear, match="holdfast_become_user"):
        decide(root(processes=["blue", "green"]), None, True)
    assert decide(root(processes=["blue", "green"], socket="green"), None, True).user == "green"
    assert decide(root(processes=["blue", "green"], ports=["green"]), None, True).user == "green"
    with pytest.raises(Unclear, match="holdfast_become_user"):
        decide(root(processes=["blue", "green"], ports=["blue", "green"]), None, True)


@pytest.mark.parametrize("name", ["postgres; id", "", "-x", "a b", "$(id)"])
def test_no_name_is_a_command(name: str) -> None:
    if name:
        with pytest.raises(Unclear, match="no user's name"):
            decide(root(), name, True)


def test_the_question_is_answered_by_a_plain_shell(tmp_path: os.PathLike[str]) -> None:
    said = subprocess.run(
        ["sh", "-c", question([str(tmp_path)], 5432, str(tmp_path))], capture_output=True, text=True, check=False
    )
    seen = read("Welcome to this host!\n" + said.stdout)
    assert (seen.user, seen.root) == (getpass.getuser(), os.geteuid() == 0)
    assert (seen.socket, seen.directory) == ("", getpass.getuser())
    assert said.returncode == 0 and not said.stderr


@pytest.mark.parametrize(("units", "found"), [([], None), (["a@1"], "a@1"), (["a@1", "b"], None)])
def test_a_unit_is_named_where_there_is_one_alone(units: list[str], found: str | None) -> None:
    """Debian's postgresql stands for all clusters of a host: to restart it for one restarts the others (CASES 1.52's kind)."""
    assert unit(read("\n".join(["user=root", "uid=0", *(f"unit={name}" for name in units)]))) == found


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (["started=postgresql-15"], "postgresql-15"),
        (["started=postgresql-15", "started=postgresql-16"], None),
        (["started=postgresql-15", "port=postgres"], None),
        (["started=postgresql-16", "started=postgresql-15", "port=postgres", "unit=postgresql-15"], "postgresql-15"),
    ],
)
def test_where_ports_cannot_be_seen_the_only_server_is_meant(seen: list[str], found: str | None) -> None:
    """In a container root may not look into another's process: Red Hat's postgresql-15 was then restarted as `postgresql`, which did nothing."""
    assert unit(read("\n".join(["user=root", "uid=0", *seen]))) == found


def test_addresses() -> None:
    assert [is_local(host) for host in (None, "", "localhost", "/run/x", "db2.example.com", "10.0.0.5")] == [
        True
    ] * 4 + [False] * 2
    assert arguments({"login_unix_socket": "/s", "login_port": 6000}) == (["/s"], 6000)
    assert arguments({"login_host": "/run/x", "login_port": None}) == (["/run/x"], 5432)
