# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stop is no fault of the network (1.20): at each request of each store that is held, a signal ends the run within seconds, and
nothing more is asked of the store.

The kind: a library that tries again what was interrupted. Members: S3, Azure, Google; listing, looking, writing, reading, deleting; in
the main thread and in those that fetch and send parts. Found before: botocore took the signal for a fault, and went on deleting.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from lab.fault import refusing_port
from lab.http_fault import HOLD, Fault, HttpProxy, Request
from lab.playbooks import start_module
from lab.stores import AzureServer, GcsServer, S3Server

SECONDS = 25  # ten for clearing up, and what a busy machine adds


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_listing_that_is_held(kind: str, number: signal.Signals) -> None:
    with refusing_port() as nowhere, HttpProxy(nowhere) as way:
        own: dict[str, dict[str, Any]] = {
            "s3": {"bucket": "bucket", "access_key": "a", "secret_key": "b", "endpoint_url": way.url},
            "azure": {"container": "bucket", "account": "acc", "account_key": "a2V5", "endpoint_url": f"{way.url}/acc"},
            "gcs": {"bucket": "bucket", "endpoint_url": way.url},
        }
        stopped_at(way, {"type": kind, **own[kind]}, lambda request: HOLD, number)


def stopped_at(way: HttpProxy, repository: dict[str, Any], rule: Any, number: signal.Signals = signal.SIGTERM) -> None:
    with way.rule(rule):
        running = start_module("backup_check", {"repository": repository})
        way.wait_for(1, 30)
        asked, began = len(way.seen), time.monotonic()
        running.process.send_signal(number)
        done = running.result(60)
        assert time.monotonic() - began < SECONDS
        assert done.failed and done.result["stopped_by"] == number.name, done.msg
        # What was being written may be taken back, and the thread that is left with a read that was held may repeat it; nothing else is asked.
        repeated = {line for line in way.seen[:asked] if line.startswith("GET")}
        assert not [line for line in way.seen[asked:] if not line.startswith("DELETE") and line not in repeated], (
            way.seen[asked:]
        )


@pytest.mark.extended
@pytest.mark.parametrize("kind", [S3Server, AzureServer, GcsServer])
@pytest.mark.parametrize("held", ["PUT", "HEAD", "GET", "DELETE"])
def test_each_request_that_is_held(kind: Any, held: str) -> None:
    """Of a look that writes an object, reads it and deletes it."""
    if reason := kind.missing():
        pytest.skip(reason)
    with kind(**({} if kind is GcsServer else {"tls": False})) as server, HttpProxy(server.port) as way:
        url = server.endpoint_url.replace(str(server.port), str(way.port))
        if kind is S3Server:
            where = {"type": "s3", "bucket": server.make_bucket("held-b1"), "access_key": server.access_key}
            where["secret_key"] = server.secret_key
        elif kind is AzureServer:
            where = {"type": "azure", "container": server.make_container("held-c1"), "account": server.account}
            where["account_key"] = server.account_key
        else:
            where = {"type": "gcs", "bucket": server.make_bucket("held-g1")}

        def rule(request: Request) -> Fault | None:
            method = "PUT" if request.method == "POST" else request.method
            return HOLD if method == held and ("_probe" in request.path or request.method == "POST") else None

        if kind is GcsServer and held == "HEAD":
            pytest.skip("Google's interface looks by GET")
        stopped_at(way, {**where, "endpoint_url": url}, rule)
