# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages tell a new user to type is typed, in order, on a fresh Debian, by a person with sudo: Ansible is installed there by the page's
own command, and the collection from the built tarball. A page's `sh` blocks are commands, the others with a name in their first line files.

Blocks of other languages are shown, not run: `text` stands for what needs a store of one's own (test_readme_stores runs those).
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from lab.documents import Block, blocks
from lab.hosts import PERSON, Host, fresh_host, tarball, why_not
from lab.playbooks import CHECKOUT

QUICK_START = "From nothing to a proven backup"
LIMIT = 300.0  # seconds, which the README's three commands are to stay below


class Reader:
    """A person who reads pages and does what they say, in one directory. ``password``: of one who has to give it to sudo. ``ansible``: what
    they have pipx install."""

    def __init__(self, host: Host, user: str = PERSON, password: str = "", ansible: str = "") -> None:
        self.host, self.user, self.password, self.ansible = host, user, password, ansible
        home = host.run("pwd", user).stdout.strip()
        host.copy(tarball(), f"{home}/{tarball().name}", user)
        host.sql("CREATE DATABASE shop")
        host.sql("CREATE TABLE orders AS SELECT id FROM generate_series(1, 1000) id", "shop")
        host.sql("ALTER TABLE orders ADD PRIMARY KEY (id)", "shop")
        if password:
            host.run(f"echo {user}:{password} | chpasswd; echo '{user} ALL=(ALL) ALL' > /etc/sudoers.d/{user}")
            host.write(".password", f"#!/bin/sh\necho {password}", user)
            host.write(".password.txt", password, user)
            host.run("chmod 0700 .password; chmod 0600 .password.txt", user)

    def follow(self, block: Block) -> str:
        """What it printed. A command that fails ends the block, and the test."""
        if block.name:
            self.host.write(block.name, block.text, self.user)
        elif block.language == "sql":
            self.host.write(block.text.partition("\n")[0].removeprefix("-- "), block.text, self.user)
        if not block.is_commands:
            return ""
        # As in one terminal: what a block exports is there for the next one.
        script = f'set -e\nexport PATH="$PATH:$HOME/.local/bin"\n{self._as_typed_here(block.text)}'
        return self.host.run(script, self.user, timeout=900).stdout

    def _as_typed_here(self, text: str) -> str:
        if self.ansible:
            text = text.replace("pipx install ansible-core", f"pipx install '{self.ansible}'")
        if self.password:  # what -K and a terminal do for a person
            text = "export SUDO_ASKPASS=$HOME/.password\n" + text.replace("sudo ", "sudo -A ")
            text = text.replace("ansible-playbook ", "ansible-playbook --become-password-file ~/.password.txt ")
        return _of_this_host(text, self.host)


def _of_this_host(text: str, host: Host) -> str:
    """The version of PostgreSQL in paths, and moments that are past, after which something happened."""
    major = host.run("ls /var/lib/postgresql | grep -E '^[0-9]+$' | head -1").stdout.strip()
    text = text.replace("/var/lib/postgresql/15/", f"/var/lib/postgresql/{major}/")
    if '"time": "' not in text:
        return text
    moment = host.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US+00:00')")
    host.sql("CREATE TABLE IF NOT EXISTS since (at timestamptz); INSERT INTO since VALUES (now())")
    segment = host.sql("SELECT pg_walfile_name(pg_switch_wal())")
    host.run(
        f"until psql -XAtc 'SELECT last_archived_wal FROM pg_stat_archiver' | grep -q {segment}; do sleep 0.2; done",
        "postgres",
        timeout=60,
    )
    return re.sub(r'"time": "[^"]*"', f'"time": "{moment}"', text)


def page(name: str, *headings: str) -> list[Block]:
    found = [block for block in blocks(CHECKOUT / name) if not headings or block.heading in headings]
    assert found, f"{name} has no {headings}"
    return found


def _reader(stack: ExitStack, suite: str, **how: str) -> Reader:
    reason = why_not(suite)
    if reason:
        pytest.skip(reason)
    return Reader(stack.enter_context(fresh_host(suite)), **how)


WAYS = [
    pytest.param("bookworm", PERSON, "", "", id="a person with sudo"),
    pytest.param("bookworm", PERSON, "of-ada", "", id="a person whose sudo asks", marks=pytest.mark.extended),
    pytest.param("bookworm", "root", "", "", id="root", marks=pytest.mark.extended),
    pytest.param("bookworm", PERSON, "", "ansible-core==2.17.*", id="2.17", marks=pytest.mark.extended),
    pytest.param("bookworm", PERSON, "", "ansible-core==2.18.*", id="2.18", marks=pytest.mark.extended),
    pytest.param("trixie", PERSON, "", "", id="trixie", marks=pytest.mark.extended),
]


@pytest.mark.parametrize(("suite", "user", "password", "ansible"), WAYS)
def test_three_commands_lead_to_a_proven_backup(suite: str, user: str, password: str, ansible: str) -> None:
    """From nothing: counted and timed, as the README says."""
    with ExitStack() as stack:
        reader = _reader(stack, suite, user=user, password=password, ansible=ansible)
        quick = page("README.md", QUICK_START)
        (typed,) = [block for block in quick if block.is_commands]
        assert len(re.findall(r"(?<!\\)$", typed.text.strip(), re.MULTILINE)) == 3
        began = time.monotonic()
        for block in quick:
            said = reader.follow(block)
        took = time.monotonic() - began
        version = reader.host.run("PATH=$PATH:~/.local/bin; ansible --version | head -1", user).stdout.strip()
        print(f"three commands, {took:.0f} s, {version}")
        assert "failed=0" in said and "Prove that the backup leads to what is archived" in said
        assert took < LIMIT
        listed = reader.host.run(
            "find /var/backups/postgres -name manifest.json; find /var/backups/postgres -not -user postgres"
        )
        assert listed.stdout.count("manifest.json") == 1 and listed.stdout.count("\n") == 1
        last = Block("README.md", 0, "", "sh", "", typed.text.strip().splitlines()[-1])
        assert "changed=0" in reader.follow(last)


@pytest.mark.extended
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_readme_is_followed_to_its_end(suite: str) -> None:
    with ExitStack() as stack:
        reader = _reader(stack, suite)
        for block in page("README.md"):
            reader.follow(block)
        assert reader.host.sql("SELECT count(*) FROM orders", "shop_yesterday") == "1000"


@pytest.mark.extended
def test_the_guide_and_the_pages_of_tasks_are_followed_to_their_ends() -> None:
    """After the README's quick start, which they go on from; one after the other, as one person would."""
    with ExitStack() as stack:
        reader = _reader(stack, "bookworm")
        names = ("guide", "backups", "restores", "passphrases")
        pages = [*page("README.md", QUICK_START), *(block for name in names for block in page(f"docs/{name}.md"))]
        said = "".join(reader.follow(block) for block in pages)
        assert "holdfast-backup-db1.timer" in reader.host.run("systemctl list-timers --all --no-pager").stdout
        assert "encrypted (aes256)" in said
        assert reader.host.sql("SELECT count(*) FROM orders", "shop_orders") == "1000"


@pytest.mark.extended
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_page_of_any_moment_is_followed_to_its_end(suite: str) -> None:
    """By itself, with the README's two commands before; its last part on a second host, after the primary has gone."""
    with ExitStack() as stack:
        reader = _reader(stack, suite)
        quick = page("README.md", QUICK_START)
        for block in quick:
            if block.name == "inventory":
                reader.follow(block)
            if block.is_commands:
                install = "\n".join(block.text.splitlines()[:2])
                reader.follow(Block(block.page, block.line, "", "sh", "", install))
        everything = page("docs/recovery.md")
        for block in everything:
            if block.heading != "Standbys":
                reader.follow(block)
        assert reader.host.sql("SELECT count(*) FROM orders", "shop") == "1000"
        look = "psql -XAtp 5433 -h /var/run/postgresql -d shop -c 'SELECT count(*) FROM orders'"
        assert reader.host.run(look, "postgres").stdout.strip() == "1000"
        # The primary lets one replicate, as the page says.
        primary = reader.host
        primary.sql("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'of the replicator'")
        primary.run(
            "cd /etc/postgresql/*/main && echo \"listen_addresses = '*'\" > conf.d/net.conf"
            " && echo 'host all,replication replicator samenet scram-sha-256' >> pg_hba.conf && systemctl restart postgresql"
        )
        host = stack.enter_context(fresh_host(suite, name="db2"))
        host.run("v=$(ls /etc/postgresql) && pg_dropcluster --stop $v main && pg_createcluster $v main --start")
        second = Reader(host)
        host.write("inventory", "db2 ansible_connection=local vault_replicator_password='of the replicator'", PERSON)
        second.follow(Block("README.md", 0, "", "sh", "", install))
        for block in everything:
            if block.heading == "Standbys":
                if "holdfast.postgres.promote" in block.text:
                    primary.run("systemctl stop postgresql")
                text = block.text.replace("db1.example.com", primary.address)
                said = second.follow(replace(block, text=text))
        assert "failed=0" in said and host.sql("SELECT pg_is_in_recovery()") == "f"
        assert host.sql("SELECT count(*) FROM orders", "shop") == "1000"


def test_no_command_is_shown_that_nobody_runs() -> None:
    """A block of `text` with a command is one about stores (test_readme_stores), or is named here with its reason."""
    shown = {
        "README.md": {"holdfast.postgres", "Into an object store"},  # make: is tried by whoever runs this test
        "stores.md": None,  # test_readme_stores
        "benchmarks.md": None,  # make bench
        "architecture.md": None,  # pictures
    }
    for path in sorted([CHECKOUT / "README.md", *Path(CHECKOUT / "docs").glob("*.md")]):
        allowed = shown.get(path.name, set())
        for block in blocks(path):
            typed = block.language == "text" and re.search(
                r"^(ansible|sudo|make|pip|psql|pg_)", block.text, re.MULTILINE
            )
            assert not typed or allowed is None or block.heading in allowed, f"{block} is typed by no test"
