# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work shows itself in ansible-playbook, and the result stays the module's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import PlaybookResult, controllers, run_adhoc, run_playbook
from lab.servers import Server

LINE = re.compile(r"^holdfast: .*$", re.MULTILINE)
FIGURES = re.compile(r"'shop': [\d.]+ \w+ of about [\d.]+ MiB, [\d.]+ \w+/s, about \d+ s left")
SHOWN = {"holdfast_progress_interval": 0.3}


@pytest.fixture(scope="module")
def shop(server_factory: Any) -> Server:
    """Enough to dump that a slow compression takes seconds."""
    server: Server = server_factory(16)
    server.psql("CREATE DATABASE shop")
    server.psql(
        "CREATE TABLE t AS SELECT n, md5(n::text) || md5((-n)::text) AS w FROM generate_series(1, 400000) n", "shop"
    )
    return server


def arguments(server: Server, repository: Path, **more: Any) -> dict[str, Any]:
    repository.mkdir(exist_ok=True)
    slow = {"databases": ["shop"], "compression_level": 12, "row_counts": False}
    login = {**server.client_options()}
    return {**login, "repository": {"path": str(repository)}, **slow, **more}


def play(
    directory: Path, task: dict[str, Any], variables: dict[str, Any], *options: str, bindir: Any = None
) -> PlaybookResult:
    book = directory / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    return run_playbook(book, variables, *options, bindir=bindir)


def task(server: Server, repository: Path, module: str = "pg_backup", **more: Any) -> dict[str, Any]:
    return {f"holdfast.postgres.{module}": arguments(server, repository, **more)}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory for temporary files that no other test has."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def leftovers(directory: Path) -> list[Path]:
    return list(directory.glob("holdfast-progress-*"))


def result_of(done: PlaybookResult) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    (only,) = done.tasks
    return only.result


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize(
    "version",
    [pytest.param(name, marks=() if name == "2.19" else pytest.mark.extended) for name in sorted(controllers())],
)
def test_shown_and_the_result_is_the_modules_own(shop: Server, tmp_path: Path, version: str) -> None:
    bindir = controllers()[version]
    python = {"ansible_python_interpreter": str(controllers()["2.19"] / "python")}
    shown = play(tmp_path, task(shop, tmp_path / "a"), {**SHOWN, **python}, "--diff", bindir=bindir)
    silent = play(
        tmp_path, task(shop, tmp_path / "b"), {"holdfast_progress_interval": 0, **python}, "--diff", bindir=bindir
    )
    assert FIGURES.search(shown.stdout), shown.stdout + shown.stderr
    assert not LINE.search(silent.stdout)
    assert set(result_of(shown)) == set(result_of(silent))
    assert result_of(shown)["changed"]
    assert result_of(shown)["diff"]
    assert not leftovers(tmp_path)
    password = shop.login().get("login_password")
    assert not password or not any(password in said for said in LINE.findall(shown.stdout))


def test_a_restore_is_shown(shop: Server, tmp_path: Path, server_factory: Any) -> None:
    result_of(play(tmp_path, task(shop, tmp_path / "a", compression_level=1), {}))
    target: Server = server_factory(16)
    options = {**target.client_options(), "repository": {"path": str(tmp_path / "a")}}
    done = play(tmp_path, {"holdfast.postgres.pg_restore": options}, {"holdfast_progress_interval": 0.1})
    assert result_of(done)["changed"]
    assert "restoring the database 'shop'" in "".join(LINE.findall(done.stdout)), done.stdout


def test_quiet_when_nobody_reads_it(shop: Server, tmp_path: Path) -> None:
    checked = play(tmp_path, task(shop, tmp_path / "a"), SHOWN, "--check")
    hidden = play(tmp_path, {**task(shop, tmp_path / "a"), "no_log": True}, SHOWN)
    one_line = run_adhoc("holdfast.postgres.pg_backup", arguments(shop, tmp_path / "a"), "--one-line")
    for done in (checked, hidden, one_line):
        assert done.returncode == 0, done.stdout + done.stderr
        assert not LINE.search(done.stdout)


def test_an_asynchronous_task_stays_one(shop: Server, tmp_path: Path) -> None:
    folder = {
        "ansible_async_dir": str(tmp_path / "async")
    }  # by default the user's home, which is not $HOME for Ansible
    done = play(tmp_path, {**task(shop, tmp_path / "a"), "async": 120, "poll": 1}, {**SHOWN, **folder})
    assert result_of(done)["backup"]["verified_at"]
    assert not LINE.search(done.stdout)


def test_shown_for_another_user(shop: Server, tmp_path: Path) -> None:
    """The file belongs to the user that the module becomes."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user here without a password")
    place = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    try:
        (place / "a").mkdir()
        for directory in (place, place / "a"):
            directory.chmod(0o777)
        become = {"become": True, "become_method": "su", "become_user": "nobody"}
        variables = {**SHOWN, "ansible_become_flags": "-s /bin/sh", "ansible_pipelining": True}
        done = play(tmp_path, {**task(shop, place / "a"), **become}, variables)
        assert result_of(done)["changed"]
        assert FIGURES.search(done.stdout), done.stdout
        assert {made.owner() for made in (place / "a").iterdir()} == {"nobody"}
    finally:
        shutil.rmtree(place)


@pytest.mark.usefixtures("temporary")
def test_a_failure_is_the_modules_own(shop: Server, tmp_path: Path) -> None:
    done = play(tmp_path, task(shop, tmp_path / "a", databases=["nowhere"]), SHOWN)
    (failed,) = done.failed
    assert "nowhere" in failed.result["msg"]
    assert not leftovers(tmp_path)


def test_a_wrong_interval(shop: Server, tmp_path: Path) -> None:
    done = play(tmp_path, task(shop, tmp_path / "a"), {"holdfast_progress_interval": "often"})
    (failed,) = done.failed
    assert "holdfast_progress_interval is 'often'" in failed.result["msg"]
