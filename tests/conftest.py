# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers for the integration tests, started when first asked for and shared by the whole session.

pg15, pg16, pg18       an empty server each, to restore into; `wiped(pg16)` makes it empty again (0.3 s)
hard15, hard16, hard18 a server each, full of data that is hard to back up; tests only read it
each_pg, each_hard     the test runs once for each version
server_factory         a server of one's own: server_factory(16, settings={...}); gone at the end of the session
s3, azure, gcs         a store each, by TLS where it can; a test makes a bucket of its own there
s3_plain, azure_plain  the same without TLS, for what looks at or changes what is said on the way
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from lab.harddata import HardData, build
from lab.servers import Server, find_installations, installation
from lab.stores import AzureServer, GcsServer, S3Server, or_skip

VERSIONS = (15, 16, 18)

ServerFactory = Callable[..., Server]
_REAPER = pytest.StashKey["subprocess.Popen[bytes]"]()


def pytest_configure(config: pytest.Config) -> None:
    """What tests, and modules that they kill, leave in the temporary directory goes with the run."""
    if hasattr(config, "workerinput"):  # it has its controller's
        return
    directory = tempfile.mkdtemp(prefix="lab-run-", dir="/tmp")  # short: sockets stand in it
    os.chmod(directory, 0o1777)
    os.environ["TMPDIR"] = tempfile.tempdir = directory
    # By a process that waits for the end of this one, however it ends.
    reaper = ["/bin/sh", "-c", 'read -r _; rm -rf "$1"', "lab-reaper", directory]
    config.stash[_REAPER] = subprocess.Popen(reaper, stdin=subprocess.PIPE, cwd="/", start_new_session=True)


@pytest.fixture(scope="session")
def server_factory() -> Iterator[ServerFactory]:
    with ExitStack() as stack:

        def make(major: int, **options: Any) -> Server:
            chosen = installation(major)
            if chosen is None:
                there = ", ".join(item.version for item in find_installations()) or "none"
                pytest.skip(f"PostgreSQL {major} is not installed here (found: {there})")
            return stack.enter_context(Server(chosen, **options))

        yield make


@pytest.fixture(scope="session")
def s3_tls() -> Iterator[S3Server]:
    yield from or_skip(S3Server, tls=True)


@pytest.fixture(scope="session")
def s3(s3_tls: S3Server) -> S3Server:
    return s3_tls


@pytest.fixture(scope="session")
def s3_plain() -> Iterator[S3Server]:
    yield from or_skip(S3Server, tls=False)


@pytest.fixture(scope="session")
def azure() -> Iterator[AzureServer]:
    yield from or_skip(AzureServer, tls=True)


@pytest.fixture(scope="session")
def azure_plain() -> Iterator[AzureServer]:
    yield from or_skip(AzureServer, tls=False)


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsServer]:
    yield from or_skip(GcsServer)


@pytest.fixture(scope="session")
def pg15(server_factory: ServerFactory) -> Server:
    return server_factory(15)


@pytest.fixture(scope="session")
def pg16(server_factory: ServerFactory) -> Server:
    return server_factory(16)


@pytest.fixture(scope="session")
def pg18(server_factory: ServerFactory) -> Server:
    return server_factory(18)


@pytest.fixture(scope="session")
def hard15(server_factory: ServerFactory) -> HardData:
    return build(server_factory(15))


@pytest.fixture(scope="session")
def hard16(server_factory: ServerFactory) -> HardData:
    return build(server_factory(16))


@pytest.fixture(scope="session")
def hard18(server_factory: ServerFactory) -> HardData:
    return build(server_factory(18))


@pytest.fixture(params=VERSIONS, ids=lambda major: f"pg{major}")
def each_pg(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(f"pg{request.param}")
    return server


@pytest.fixture(params=VERSIONS, ids=lambda major: f"pg{major}")
def each_hard(request: pytest.FixtureRequest) -> HardData:
    data: HardData = request.getfixturevalue(f"hard{request.param}")
    return data


@pytest.fixture
def wiped(request: pytest.FixtureRequest) -> Callable[[Server | int], Server]:
    """wiped(pg16), or wiped(16): the shared server of a version, as empty as after initdb."""

    def wipe(which: Server | int) -> Server:
        server: Server = which if isinstance(which, Server) else request.getfixturevalue(f"pg{which}")
        server.wipe()
        return server

    return wipe
