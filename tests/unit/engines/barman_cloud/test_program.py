# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of secrets, and finding and running programs, with programs that stand in."""

from __future__ import annotations

import os
import pwd
import signal
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.program import Barman
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

ME = pwd.getpwuid(os.geteuid()).pw_name


def stand_in(directory: Path, text: str, name: str = "wal-archive") -> Path:
    path = directory / f"barman-cloud-{name}"
    path.write_text(text)
    path.chmod(0o755)
    return path


def barman(directory: Path, **environment: str) -> Barman:
    return Barman(str(directory), ME, environment, ambient=False)


def test_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_in(tmp_path, "#!/bin/sh\n")
    assert program.find(str(tmp_path)) == str(tmp_path)
    assert program.find(str(path)) == str(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.find(None) == str(tmp_path)
    for missing in (str(tmp_path / "none"), "/bin/sh"):
        with pytest.raises(ToolError, match=r"barman\[cloud\]"):
            program.find(missing)


@pytest.mark.parametrize(
    ("says", "version"),
    [("barman-cloud-wal-archive 3.19.1", "3.19.1"), ("x 3.12.0", "3.12.0"), ("x 3.4.0", None), ("hello", None)],
)
def test_versions(tmp_path: Path, says: str, version: str | None) -> None:
    stand_in(tmp_path, f"#!/bin/sh\necho '{says}'\n")
    if version:
        assert barman(tmp_path).version() == version
    else:
        with pytest.raises(ToolError, match="3.12"):
            barman(tmp_path).version()


def test_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody's")
    monkeypatch.setenv("PGHOST", "elsewhere")
    stand_in(tmp_path, '#!/bin/sh\necho "$AWS_PROFILE,$PGHOST,$AWS_ACCESS_KEY_ID,$TZ"\n')
    said = barman(tmp_path, AWS_ACCESS_KEY_ID="ours", TZ="UTC").run("wal-archive")
    assert said.output == ",,ours,UTC\n"
    said = Barman(str(tmp_path), ME, {}, ambient=True).run("wal-archive")
    assert said.output.startswith("somebody's,,,")


def test_failing(tmp_path: Path) -> None:
    log = "2026-11-21 08:12:56,221 [6774] {}: {}"
    lines = [log.format("INFO", "fine"), log.format("ERROR", "one"), log.format("ERROR", "two")]
    stand_in(tmp_path, "#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in lines) + "exit 4\n")
    with pytest.raises(ToolError, match=r"barman-cloud-wal-archive failed with exit code 4: one / two$"):
        barman(tmp_path).run("wal-archive")
    assert barman(tmp_path).run("wal-archive", ok=(0, 4)).code == 4


def test_without_words(tmp_path: Path) -> None:
    stand_in(tmp_path, "#!/bin/sh\nkill -s KILL $$\n")
    with pytest.raises(ToolError, match="was killed by SIGKILL and said nothing"):
        barman(tmp_path).run("wal-archive")


def test_a_limit_of_time(tmp_path: Path) -> None:
    """It and what it started are ended."""
    stand_in(tmp_path, f"#!/bin/sh\nsleep 100 & echo $! >{tmp_path}/child\necho so far >&2\nwait\n")
    began = time.monotonic()
    with pytest.raises(ToolError, match="did not end within 0.2 seconds. so far"):
        barman(tmp_path).run("wal-archive", timeout=0.2)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    for _attempt in range(50):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail("the child outlived it")


def test_it_is_told_when_we_are_interrupted(tmp_path: Path) -> None:
    stand_in(tmp_path, f"#!/bin/sh\ntrap 'echo told >{tmp_path}/told; exit 1' INT\nwhile :; do sleep 0.05; done\n")
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    # Tests that run in the background have it ignored, and so would their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            barman(tmp_path).run("wal-archive")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "told").read_text() == "told\n"


def test_watching(tmp_path: Path) -> None:
    stand_in(tmp_path, "#!/bin/sh\necho one >&2; sleep 0.7; echo two >&2\n")
    seen: list[str] = []
    barman(tmp_path).run("wal-archive", watch=seen.append)
    assert seen == ["one\n", "one\ntwo\n"]


def test_modules_of_its_python(tmp_path: Path) -> None:
    import sys

    stand_in(tmp_path, f"#!{sys.executable}\n")
    assert barman(tmp_path).can_import("json") is True
    assert barman(tmp_path).can_import("no_such_module") is False
    stand_in(tmp_path, f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n")
    assert barman(tmp_path).can_import("json") is True
    stand_in(tmp_path, "#!/bin/sh\nexec something\n")
    assert barman(tmp_path).can_import("json") is None


def test_what_a_version_does_not_have(tmp_path: Path) -> None:
    stand_in(tmp_path, "#!/bin/sh\necho ' --endpoint-url URL --tags'\n")
    barman(tmp_path).demand("wal-archive", "--tags", "repository.tags")
    with pytest.raises(ToolError, match="has no --tag, which repository.tags needs"):
        barman(tmp_path).demand("wal-archive", "--tag", "repository.tags")
