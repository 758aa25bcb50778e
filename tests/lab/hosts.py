# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fresh hosts, as a new user has them: Debian with systemd, PostgreSQL as Debian packages it, sshd, and a person's user with sudo.

They are containers of podman with systemd as process 1, from an image that ``tests/tools/install_hosts.sh`` makes (three minutes, once;
kept in ``$HOLDFAST_TESTS_CACHE``, by default ``~/.cache/holdfast-tests``). Nothing of this collection's needs is installed in them:
no psycopg2, no Ansible, no compressor.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .playbooks import CHECKOUT, PlaybookResult, run_playbook
from .servers import clean_environment

CACHE = Path(os.environ.get("HOLDFAST_TESTS_CACHE") or "~/.cache/holdfast-tests").expanduser()
PERSON = "ada"
_INSTALL = CHECKOUT / "tests" / "tools" / "install_hosts.sh"


def podman(*arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """podman with a store of its own, in the cache."""
    run = os.environ.get("HOLDFAST_TESTS_RUN", "/run/holdfast-tests")
    return subprocess.run(
        ["podman", "--root", str(CACHE / "podman"), "--runroot", run, *arguments],
        env={**clean_environment(), "CONTAINERS_CONF": str(CACHE / "containers.conf")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=check,
    )


@lru_cache
def why_not(suite: str = "bookworm") -> str:
    """Why there can be no fresh host here; empty: there can. The image is made where it is not there."""
    done = subprocess.run([str(_INSTALL), suite], capture_output=True, text=True, check=False)
    last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
    if done.returncode != 0 or last.startswith("skipped: "):
        return f"no fresh host: {last.removeprefix('skipped: ') or 'install_hosts.sh failed'}"
    try:
        with fresh_host(suite):
            return ""
    except (subprocess.SubprocessError, TimeoutError) as exc:
        said = getattr(exc, "stderr", None) or str(exc)
        return f"no fresh host: podman cannot run systemd here ({' '.join(said.split())[-300:]})"


@lru_cache(maxsize=1)
def tarball() -> Path:
    """The collection as it is published: built from what git has of this checkout."""
    directory = Path(tempfile.mkdtemp(prefix="lab-tarball-"))
    tree = directory / "tree"
    tree.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    ).stdout
    present = b"\0".join(name for name in listed.split(b"\0") if name and (CHECKOUT / os.fsdecode(name)).exists())
    subprocess.run(
        ["xargs", "-0", "cp", "--parents", "-P", f"--target-directory={tree}", "--"],
        cwd=CHECKOUT,
        input=present,
        check=True,
    )
    subprocess.run(
        [str(_bin("ansible-galaxy")), "collection", "build", "--output-path", str(directory), str(tree)],
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    return next(directory.glob("holdfast-postgres-*.tar.gz"))


@lru_cache(maxsize=1)
def installed() -> Path:
    """A collections path with the collection installed from the tarball, never the checkout."""
    directory = Path(tempfile.mkdtemp(prefix="lab-installed-"))
    subprocess.run(
        [
            str(_bin("ansible-galaxy")),
            "collection",
            "install",
            str(tarball()),
            "-p",
            str(directory),
            "--offline",
            "--no-deps",
        ],
        env={**clean_environment(), "ANSIBLE_COLLECTIONS_PATH": str(directory)},
        capture_output=True,
        check=True,
    )
    return directory


def _bin(name: str) -> Path:
    return Path(sys.executable).parent / name


@dataclass(frozen=True)
class Host:
    """A running host."""

    name: str
    address: str

    def run(
        self, command: str, user: str = "root", *, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """A line of shell, in a login of this user's: what a person types. Output and errors are in ``stdout``.

        Raises:
            AssertionError: it failed, and ``check`` is true.
        """
        done = podman(
            "exec",
            "--user",
            "root",
            self.name,
            "runuser",
            "-l",
            user,
            "-c",
            f"exec 2>&1\n{command}",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{user}$ {command}\n{done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, user: str = "root") -> None:
        """A file of this user's."""
        self.run(f"cat > {path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE", user)

    def copy(self, source: Path, target: str, user: str = "root") -> None:
        podman("cp", str(source), f"{self.name}:{target}")
        self.run(f"chown {user}: {shlex.quote(target)}")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What PostgreSQL answers to its owner."""
        return self.run(
            f"psql -XAtq -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}", "postgres"
        ).stdout.strip()

    def play(
        self,
        playbook: str,
        variables: Mapping[str, Any] | None = None,
        *options: str,
        user: str = PERSON,
        become: bool = True,
        timeout: float = 600,
        **more: Any,
    ) -> PlaybookResult:
        """``ansible-playbook holdfast.postgres.PLAYBOOK -b`` from this machine, by ssh, of the installed tarball."""
        known = {
            "ansible_connection": "ssh",
            "ansible_host": self.address,
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(CACHE / "key"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "auto_silent",
            # run_playbook has these for its own runs
            "holdfast_backup_state_dir": "",
            "holdfast_become_user": "",
        }
        return run_playbook(
            f"holdfast.postgres.{playbook}",
            {**known, **(variables or {})},
            *(["-b"] if become else []),
            *options,
            inventory=f"{self.name},",
            env={"ANSIBLE_COLLECTIONS_PATH": str(installed()), **more.pop("env", {})},
            timeout=timeout,
            **more,
        )


@contextmanager
def fresh_host(suite: str = "bookworm", *, name: str = "db1") -> Iterator[Host]:
    """A host that has just started, and is gone afterwards.

    Raises:
        subprocess.SubprocessError, TimeoutError: it does not come up.
    """
    container = f"holdfast-{name}-{secrets.token_hex(3)}"
    # A volume, as in a container's own layers a directory that came with the image cannot be renamed.
    podman(
        "run",
        "--detach",
        "--name",
        container,
        "--hostname",
        name,
        "--systemd=always",
        "--volume",
        "/var/lib/postgresql",
        f"holdfast-host:{suite}",
        "/sbin/init",
    )
    try:
        deadline = time.monotonic() + 60
        # One after the other, as is-active is content with one of several; the server has a socket before systemd has done with its start.
        wanted = "test -S /run/postgresql/.s.PGSQL.5432 && systemctl is-active ssh && systemctl is-active postgresql"
        while podman("exec", container, "sh", "-c", wanted, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise TimeoutError(podman("logs", container, check=False).stdout[-500:] or "systemd did not start")
            time.sleep(0.2)
        address = podman("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container).stdout.strip()
        yield Host(container, address)
    finally:
        podman("rm", "--force", "--volumes", "--time", "0", container, timeout=600, check=False)
