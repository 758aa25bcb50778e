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
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab.documents import Block, blocks
from lab.hosts import PERSON, Host, fresh_host, tarball, why_not
from lab.playbooks import CHECKOUT

QUICK_START = "From nothing to a proven backup"
LIMIT = 300.0  # seconds, which the README's three commands are to stay below


class Reader:
    """A person who reads pages and does what they say, in one directory."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.copy(tarball(), f"/home/{PERSON}/{tarball().name}", PERSON)
        host.sql("CREATE DATABASE shop")
        host.sql("CREATE TABLE orders AS SELECT id FROM generate_series(1, 1000) id", "shop")

    def follow(self, block: Block) -> str:
        """What it printed. A command that fails ends the block, and the test."""
        if block.name:
            self.host.write(block.name, block.text, PERSON)
        if not block.is_commands:
            return ""
        # As in one terminal: what a block exports is there for the next one.
        script = f'set -e\nexport PATH="$PATH:$HOME/.local/bin"\n{_of_this_host(block.text, self.host)}'
        return self.host.run(script, PERSON, timeout=600).stdout


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


@pytest.fixture
def reader() -> Iterator[Reader]:
    with ExitStack() as stack:
        yield _reader(stack, "bookworm")


def _reader(stack: ExitStack, suite: str) -> Reader:
    reason = why_not(suite)
    if reason:
        pytest.skip(reason)
    return Reader(stack.enter_context(fresh_host(suite)))


def test_three_commands_lead_to_a_proven_backup(reader: Reader) -> None:
    """From nothing: counted and timed, as the README says."""
    quick = page("README.md", QUICK_START)
    (typed,) = [block for block in quick if block.is_commands]
    assert len(re.findall(r"(?<!\\)$", typed.text.strip(), re.MULTILINE)) == 3
    began = time.monotonic()
    for block in quick:
        said = reader.follow(block)
    took = time.monotonic() - began
    print(f"three commands, {took:.0f} s")
    assert "failed=0" in said and "Prove that the backup leads to what is archived" in said
    assert took < LIMIT
    listed = reader.host.run(
        "find /var/backups/postgres -name manifest.json; find /var/backups/postgres -not -user postgres"
    )
    assert listed.stdout.count("manifest.json") == 1 and listed.stdout.count("\n") == 1
    again = reader.host.run(f"PATH=$PATH:~/.local/bin; {typed.text.strip().splitlines()[-1]}", PERSON).stdout
    assert "changed=0" in again


@pytest.mark.extended
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_readme_is_followed_to_its_end(suite: str) -> None:
    with ExitStack() as stack:
        reader = _reader(stack, suite)
        for block in page("README.md"):
            reader.follow(block)
        assert reader.host.sql("SELECT count(*) FROM orders", "shop_yesterday") == "1000"


@pytest.mark.extended
def test_the_guide_is_followed_to_its_end(reader: Reader) -> None:
    """After the README's quick start, which it goes on from."""
    for block in [*page("README.md", QUICK_START), *page("docs/guide.md")]:
        said = reader.follow(block)
    assert "holdfast-backup-db1.timer" in said


def test_no_command_is_shown_that_nobody_runs() -> None:
    """A block of `text` with a command is one about stores (test_readme_stores), or is named here with its reason."""
    shown = {
        "README.md": {"holdfast.postgres", "Into an object store"},  # make: is tried by whoever runs this test
        "stores.md": None,  # test_readme_stores
        "recovery.md": None,  # not yet: what it begins with is the README's, which is run
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
