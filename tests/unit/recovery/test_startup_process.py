# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore_command that does not end is told of, and given up; one that ends, however often it runs, is not.

The processes are real, and have the titles of PostgreSQL's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import progress
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.startup_process import StartupProcess

SEGMENT = "00000001000000000000000A"


@contextmanager
def server(title: str, commands: str) -> Iterator[int]:
    """A postmaster with a startup process of that title, which runs commands."""
    startup = f"exec -a 'postgres: {title}' bash -c '{commands}; :'"
    with subprocess.Popen(
        ["bash", "-c", f"(exec -a checkpointer sleep 60) & ({startup}) & wait"], start_new_session=True
    ) as made:
        try:
            yield made.pid
        finally:
            os.killpg(made.pid, signal.SIGKILL)


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("title", "segment"),
    [
        (f"startup recovering {SEGMENT}", SEGMENT),
        (f"my: cluster: startup waiting for {SEGMENT}", SEGMENT),
        ("startup", None),
        ("checkpointer", None),
    ],
)
def test_where_it_is(title: str, segment: str | None) -> None:
    with server(title, "sleep 60") as pid, StartupProcess(pid, 60) as startup:
        if segment:
            wait(startup.segment)
        assert startup.segment() == segment


def test_a_command_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SOON", 0.0)
    with server(f"startup waiting for {SEGMENT}", 'sh -c "sleep 60; : cp /archive/%f"') as pid:
        with StartupProcess(pid, 0.2) as startup:
            wait(startup.segment)

            def told() -> bool:
                startup.require_command_ends()
                return SEGMENT in str(progress._longest())

            wait(told)
            with pytest.raises(ServerError, match=rf"wal_timeout: 0.2.*at {SEGMENT}.*: cp /archive/%f\. Try"):
                wait(startup.require_command_ends)
        assert SEGMENT not in str(progress._longest())


def test_commands_that_end() -> None:
    commands = 'for n in $(seq 40); do sh -c "sleep 0.05; :"; done; exec sleep 60'
    with server(f"startup recovering {SEGMENT}", commands) as pid, StartupProcess(pid, 1) as startup:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            startup.require_command_ends()
            time.sleep(0.002)
    assert startup.segment() is None
    startup.require_command_ends()
