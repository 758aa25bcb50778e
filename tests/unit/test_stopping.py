# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is told to stop: each way in which a stop could get lost, be taken for a failure, or last for ever.

Members of the kind: a stop during ordinary work; below ``except Exception``; swallowed in a finalizer; in a block that must not be
half done; in a wait for a thread; a clean-up that never ends; who asked for the run being gone; the work done at that very moment.
Before, a stop was a ``HoldfastError``: whoever handled failures of a repository went on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from lab.playbooks import collections_path

HEAD = """
import contextlib, os, sys, threading, time
from ansible.module_utils import basic
from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
stopping.GRACE = 1.0
def ready():
    print("ready", file=sys.stderr, flush=True)
def nap():
    ready()
    time.sleep(30)
def work(module, warnings):
"""
TAIL = """
module = basic.AnsibleModule({}, supports_check_mode=True)
execute(module, work, psycopg2=False)
"""


def start(body: str, verbosity: int = 0) -> subprocess.Popen[str]:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + lines + TAIL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(collections_path())},
    )
    assert process.stdin
    internal = {"_ansible_remote_tmp": "/tmp", "_ansible_verbosity": verbosity}
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": internal}))
    process.stdin.close()
    process.stdin = None
    return process


def stopped(body: str, number: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
    process = start(body)
    assert process.stderr
    assert process.stderr.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert "Traceback" not in err, err
    result: dict[str, Any] = json.loads(out)
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: str(number.name))
def test_a_stop_in_the_middle_of_work(number: signal.Signals) -> None:
    result = stopped("with stopping.remains('Half of it is there.'):\n    nap()", number)
    assert result["failed"] and result["changed"]
    assert result["msg"] == f"The run was stopped by {number.name}. Half of it is there."


@pytest.mark.parametrize(
    "body",
    [
        # who handles failures, and tries again
        "for _ in range(9):\n    try:\n        nap()\n    except Exception:\n        pass",
        "for _ in range(9):\n    with contextlib.suppress(HoldfastError, OSError):\n        nap()",
        # Python swallows what is raised in a finalizer
        "class Slow:\n    def __del__(self):\n        nap()\nSlow()\ntime.sleep(30)",
        # somebody's library swallows everything, once
        "try:\n    nap()\nexcept BaseException:\n    pass\ntime.sleep(30)",
        "Background(nap).result()",
        "nap_ = threading.Thread(target=nap, daemon=True)\nnap_.start()\nnap_.join()",
        # clearing up fails in its turn
        "try:\n    nap()\nfinally:\n    raise ServerError('cannot drop it')",
        "try:\n    nap()\nexcept BaseException as exc:\n    raise ToolError('it failed') from exc",
    ],
)
def test_a_stop_is_never_taken_for_a_failure(body: str) -> None:
    result = stopped(body)
    assert result["failed"]
    assert result["msg"].startswith("The run was stopped by SIGTERM.")
    assert result["stopped_by"] == "SIGTERM"


def test_a_stop_that_the_main_thread_did_not_see() -> None:
    """It comes between two instructions and the wait that follows, or another thread takes it: the wait is not interrupted, and Python
    saw the signal only when the work had ended. Found by a run of this suite under load that hung once."""
    body = """
import signal
other = threading.Thread(target=time.sleep, args=(30,), daemon=True)
other.start()
threading.Timer(0.1, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
other.join()
"""
    out, _err = start(body).communicate(timeout=10)
    assert json.loads(out)["stopped_by"] == "SIGTERM"


def test_clearing_up_is_not_disturbed() -> None:
    """Also by the second signal of somebody who is impatient, and by our own, which come each second."""
    body = """
with stopping.remains("Something is left.", seconds=5) as left:
    try:
        nap()
    finally:
        ready()
        time.sleep(1.5)
        left.now("Nothing is left.")
"""
    process = start(body)
    assert process.stderr
    for number in (signal.SIGTERM, signal.SIGINT):
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
    out, _err = process.communicate(timeout=20)
    assert json.loads(out)["msg"] == "The run was stopped by SIGTERM. Nothing is left."


def test_clearing_up_that_ends_while_it_is_given_up() -> None:
    """One result is told, and not two: the main thread ends while the other gives up. Found by a run of this suite under load."""
    body = """
begun = threading.Event()
def slow():
    begun.set()
    time.sleep(0.5)
stopping.end_children = slow
try:
    nap()
finally:
    begun.wait(20)
"""
    result = stopped(body)
    assert result["stopped_by"] == "SIGTERM" and "was given up" in result["msg"]


def test_clearing_up_that_never_ends_is_given_up() -> None:
    body = """
with stopping.remains("The side database stays."):
    try:
        nap()
    finally:
        threading.Lock().acquire() and threading.Event().wait()
"""
    result = stopped(body)
    assert "The side database stays." in result["msg"]
    assert "given up" in result["msg"]


def test_what_must_not_be_half_done_is_done() -> None:
    body = """
done = []
with stopping.remains(lambda: f"Done: {done}."):
    with stopping.held():
        ready()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            time.sleep(0.01)
        done.append(1)
    done.append(2)
"""
    assert stopped(body)["msg"] == "The run was stopped by SIGTERM. Done: [1]."


def test_who_asked_is_gone() -> None:
    """A job that was cancelled, a connection that broke: nobody will ever read the result."""
    process = start("try:\n    nap()\nfinally:\n    print('cleared up', file=sys.stderr, flush=True)")
    assert process.stdout and process.stderr
    assert process.stderr.readline() == "ready\n"
    process.stdout.close()
    process.wait(5)
    assert process.stderr.readline() == "cleared up\n"
    process.stderr.close()


def test_a_stop_after_the_work_is_done_hides_nothing() -> None:
    process = start("stopping.finished()\nready()\ntime.sleep(0.5)\nreturn {'changed': True}")
    assert process.stderr
    process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, _err = process.communicate(timeout=20)
    assert json.loads(out)["changed"] and not json.loads(out).get("failed")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ServerError('The server is down.')", ["The server is down."]),
        ("{}['x']", ["KeyError: 'x'", "troubleshooting", "https://", "-vvv"]),
        ("raise RecursionError()", ["RecursionError", "report"]),
        # The first one is what was the matter.
        (
            "try:\n    raise ServerError('The disk is full.')\nfinally:\n    {}['x']",
            ["The disk is full. Then, while that was cleared up: KeyError: 'x'."],
        ),
    ],
)
def test_whatever_goes_wrong_becomes_words(body: str, words: list[str]) -> None:
    for verbosity in (0, 3):
        out, err = start(body, verbosity).communicate(timeout=20)
        result = json.loads(out)
        assert result["failed"] and not err
        for word in words:
            assert word in result["msg"]
        if verbosity == 0:
            assert "Traceback" not in out


def test_a_program_that_failed_is_in_the_result_without_its_secrets() -> None:
    body = """
argv = ["pg_dump", "--dbname=host=db password='it\\\\'s secret' sslpassword=other port=1", "--token", "x"]
try:
    raise ToolError("pg_dump failed.", argv=argv, rc=3, output="no such table")
except ToolError as exc:
    raise ServerError(f"No backup was made. {exc}") from exc
"""
    out, _err = start(body).communicate(timeout=20)
    result = json.loads(out)
    assert result["msg"] == "No backup was made. pg_dump failed."
    assert result["tool"]["rc"] == 3
    assert result["tool"]["output"] == "no such table"
    assert result["tool"]["argv"][1] == "--dbname=host=db password=*** sslpassword=*** port=1"
