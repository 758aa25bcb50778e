# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection under test, run as users run it: by ansible-playbook, by ansible, or a module alone, which is fast."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .forked import ForkedModule, start_server
from .servers import clean_environment

CHECKOUT = Path(__file__).resolve().parents[2]
CALLBACKS = Path(__file__).with_name("callback_plugins")
MODULES = "ansible_collections.holdfast.postgres.plugins.modules"
LOCALE = "C.UTF-8"
RESULTS = "results"


@lru_cache(maxsize=1)
def collections_path() -> Path:
    """A directory in which Ansible and Python find this checkout as the collection holdfast.postgres."""
    root = CHECKOUT / ".work" / "collections"
    if not os.access(CHECKOUT, os.W_OK) and not root.exists():
        root = Path(tempfile.mkdtemp(prefix="lab-collections-"))  # another user's checkout, not set up
    place = root / "ansible_collections" / "holdfast" / "postgres"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(CHECKOUT)
    return root


def controllers() -> dict[str, Path]:
    """The directories of programs of every ansible-core that `make` installed, by version (2.19)."""
    own = Path(sys.executable).parent
    found: dict[str, Path] = {}
    for bindir in (own, *sorted(CHECKOUT.glob(".work/venv-*/bin"))):
        for installed in bindir.parent.glob("lib/python3*/site-packages/ansible_core-*.dist-info"):
            if (bindir / "ansible").exists():
                found.setdefault(".".join(installed.name.split("-")[1].split(".")[:2]), bindir)
    return found


@dataclass(frozen=True)
class ModuleResult:
    """What a module answered."""

    returncode: int
    result: dict[str, Any]
    stdout: str
    stderr: str

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))


class RunningModule:
    """A module at work, for tests that disturb it half-way."""

    def __init__(self, process: subprocess.Popen[str] | ForkedModule) -> None:
        self.process = process

    def result(self, timeout: float = 300) -> ModuleResult:
        try:
            stdout, stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        try:
            result = json.loads(stdout)
        except ValueError:
            # Killed, or it died of an exception that it did not catch: there is no answer, and that is the answer.
            result = {}
        return ModuleResult(self.process.wait(), result, stdout, stderr)

    def kill(self) -> None:
        """SIGKILL to the module and to all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@lru_cache(maxsize=1)
def _own() -> tempfile.TemporaryDirectory[str]:
    """A directory that lives as long as this process."""
    return tempfile.TemporaryDirectory(prefix="lab-state-")


_forking = False


def fork_modules() -> None:
    """From now on modules are forks (forked.py). For the tests: what measures time or memory starts programs from scratch."""
    global _forking
    names = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    path = [str(Path(__file__).parents[1]), str(collections_path())]
    start_server([f"{MODULES}.{name}" for name in names], path, LOCALE)
    _forking = True


def start_module(
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> RunningModule:
    """Start a module by itself, as Ansible would on the target, without Ansible's own second of start.

    With an environment or a Python of its own, or ``fresh``, it is a program from scratch; in the tests it else is a fork of one that has
    imported what modules import, which takes a tenth of the time.
    """
    internal = {"check_mode": check, "diff": diff, "remote_tmp": tempfile.gettempdir(), "verbosity": 0}
    # Places that tests make have the names of others that are gone: nothing is remembered unless a test wants it.
    own = {"state_dir": f"{_own().name}/{secrets.token_hex(4)}"} if name == "pg_backup" else {}
    options = {**own, **arguments, **{f"_ansible_{key}": value for key, value in internal.items()}}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": options})
    variables = {**clean_environment(), "PYTHONPATH": str(collections_path()), "LC_ALL": LOCALE, **(env or {})}
    if _forking and python == sys.executable and not env and not fresh:
        return RunningModule(ForkedModule(f"{MODULES}.{name}", given, variables))
    process = subprocess.Popen(
        [python, "-m", f"{MODULES}.{name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=variables,
        cwd="/",
        start_new_session=True,
    )
    if process.stdin:
        process.stdin.write(given)
        process.stdin.close()
    process.stdin = None  # communicate() would touch it again
    return RunningModule(process)


def run_module(name: str, arguments: Mapping[str, Any], *, timeout: float = 300, **options: Any) -> ModuleResult:
    """`start_module`, and its answer. A failure is an answer too: see `failed` and `msg`."""
    return start_module(name, arguments, **options).result(timeout)


@dataclass(frozen=True)
class TaskResult:
    """What one task of a play did on one host."""

    host: str
    task: str
    action: str
    status: str  # ok, failed, skipped, unreachable
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))


@dataclass(frozen=True)
class PlaybookResult:
    """How a run of ansible or ansible-playbook ended."""

    returncode: int
    stdout: str
    stderr: str
    tasks: tuple[TaskResult, ...]

    @property
    def changed(self) -> list[TaskResult]:
        return [task for task in self.tasks if task.changed]

    @property
    def failed(self) -> list[TaskResult]:
        return [task for task in self.tasks if task.status in ("failed", "unreachable")]

    def of(self, action: str) -> list[dict[str, Any]]:
        """The results of all tasks with this module."""
        return [task.result for task in self.tasks if task.action == action]


def run_playbook(
    playbook: str | Path,
    variables: Mapping[str, Any] | None = None,
    *options: str,
    inventory: str = "localhost,",
    bindir: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    inside: Sequence[str] = (),
) -> PlaybookResult:
    """Run a playbook, given as a path or as holdfast.postgres.NAME; `bindir` is of the controller to use. `inside`: what leads into a host of
    its own (lab.namespaces), whose defaults are then used."""
    return _run("ansible-playbook", [str(playbook), *options], variables, inventory, bindir, env, timeout, inside)


def run_adhoc(
    module: str,
    arguments: Mapping[str, Any],
    *options: str,
    variables: Mapping[str, Any] | None = None,
    inventory: str = "localhost,",
    bindir: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> PlaybookResult:
    """Run one module by `ansible` on localhost, with action plugins and all."""
    command = ["localhost", "-m", module, "-a", json.dumps(arguments), *options]
    return _run("ansible", command, variables, inventory, bindir, env, timeout)


def _run(
    program: str,
    arguments: Sequence[str],
    variables: Mapping[str, Any] | None,
    inventory: str,
    bindir: Path | None,
    env: Mapping[str, str] | None,
    timeout: float,
    inside: Sequence[str] = (),
) -> PlaybookResult:
    directory = bindir or Path(sys.executable).parent
    with tempfile.TemporaryDirectory(prefix="lab-ansible-") as scratch:
        results = Path(scratch) / RESULTS
        extra = Path(scratch) / "variables.json"
        extra.touch(mode=0o600)
        own_places = {
            "holdfast_backup_state_dir": str(Path(scratch) / "state"),
            # The lab's servers run as another user than the tests; fresh hosts (hosts.py) are for whose work it is.
            "holdfast_become_user": getpass.getuser(),
        }
        # The modules run by the controller's own Python: it has what they need.
        chosen = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(directory / "python"),
            **({} if inside else own_places),
            **(variables or {}),
        }
        extra.write_text(json.dumps(chosen))
        done = subprocess.run(
            [*inside, str(directory / program), *arguments, "-i", inventory, "-e", f"@{extra}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**environment(Path(scratch), directory), **(env or {})},
            cwd=scratch,
            timeout=timeout,
            check=False,
        )
        lines = results.read_text().splitlines() if results.exists() else []
    return PlaybookResult(
        done.returncode, done.stdout, done.stderr, tuple(TaskResult(**json.loads(line)) for line in lines)
    )


def environment(scratch: Path, bindir: Path) -> dict[str, str]:
    """Variables in which Ansible of `bindir` finds the collection, reads no configuration of the user's, and writes into `scratch` alone:
    each task's result into the file RESULTS there."""
    configuration = scratch / "ansible.cfg"  # empty, in place of the user's own
    configuration.touch()
    modules = Path(_own().name) / "modules" / str(bindir).replace("/", "_")
    modules.mkdir(parents=True, exist_ok=True)
    own = {name: value for name, value in clean_environment().items() if not name.startswith("ANSIBLE_")}
    return {
        **own,
        "LC_ALL": LOCALE,
        "ANSIBLE_HOME": str(scratch),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "lab_results",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "LAB_RESULTS": str(scratch / RESULTS),
        "LAB_MODULES": str(modules),
    }
