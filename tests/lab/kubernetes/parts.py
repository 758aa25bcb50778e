# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built once and kept: a directory a part, named by a hash of what it is built from, so that a change builds it anew."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path

from .settings import CACHE, HERE, PARTS, VERSIONS

BUILD = HERE / "build"
KEPT_DAYS = 14  # a part of another version that nobody asked for goes after this
_BASE = (
    *("base-files", "libc-bin", "bash", "coreutils", "grep", "sed", "tar", "gzip", "findutils", "procps", "mawk"),
    *("postgresql-15", "postgresql-client-15", "python3", "python3-psycopg2", "python3-dateutil", "iproute2", "curl"),
)
_TOOLS = (*_BASE, "zstd", "lz4", "gnupg", "gpg-agent", "pgbackrest", "ca-certificates", "openssl", "tzdata")
GO = ("kubernetes.sh", "etcd.sh", "snapshots.sh", "cloudnative_pg.sh", "barman_plugin.sh")  # scripts that need it


class CannotBuild(Exception):
    """A part cannot be built here; the message says why, in one line."""


@dataclass(frozen=True)
class Part:
    """One thing that is built by build/SCRIPT ARGUMENTS into a directory of its own."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # besides the script, below build/
    below: Part | None = None  # the layer below, whose packages are left out
    extra: Callable[[], bytes] = field(default=lambda: b"", compare=False)

    @cached_property
    def key(self) -> str:
        digest = hashlib.sha256()
        for name in ("common.sh", self.script, *self.sources):
            for path in sorted(
                p for p in ((BUILD / name).rglob("*") if (BUILD / name).is_dir() else [BUILD / name]) if p.is_file()
            ):
                digest.update(f"{path.relative_to(BUILD)}\0".encode() + path.read_bytes())
        wanted = (BUILD / self.script).read_text() + (BUILD / "common.sh").read_text()
        for item in (*self.arguments, *(f"{k}={v}" for k, v in sorted(VERSIONS.items()) if k in wanted)):
            digest.update(f"{item}\0".encode())
        if self.below:
            digest.update(self.below.key.encode())
        digest.update(self.extra())
        return digest.hexdigest()[:12]

    @property
    def path(self) -> Path:
        return PARTS / f"{self.name}-{self.key}"

    @property
    def built(self) -> bool:
        return self.path.is_dir()


def _installed() -> bytes:
    """Debian's own release: packages of another are another layer."""
    return Path("/etc/os-release").read_bytes() if Path("/etc/os-release").exists() else b""


KUBERNETES = Part("kubernetes", "kubernetes.sh", sources=("go",))
ETCD = Part("etcd", "etcd.sh")
SNAPSHOTS = Part("snapshots", "snapshots.sh")
POSTGRES_LAYER = Part("postgres", "rootfs.sh", _BASE, sources=("compile_python.sh",), extra=_installed)
TOOLS_LAYER = Part("tools", "rootfs.sh", _TOOLS, sources=("compile_python.sh",), below=POSTGRES_LAYER, extra=_installed)
PYTHON_LAYER = Part("python", "python.sh", sources=("python.txt", "compile_python.sh"), extra=_installed)
CLOUDNATIVE_PG = Part("cloudnative-pg", "cloudnative_pg.sh")
BARMAN_PLUGIN = Part("barman-plugin", "barman_plugin.sh")

#: By what is wanted; "image" is the collection's own.
NEEDED: dict[str, tuple[Part, ...]] = {
    "api": (KUBERNETES, ETCD),
    "ctl": (),
    "node": (POSTGRES_LAYER,),
    "csi": (SNAPSHOTS,),
    "image": (TOOLS_LAYER, PYTHON_LAYER),
    "cnpg": (CLOUDNATIVE_PG,),
    "plugin": (BARMAN_PLUGIN,),
}
#: What each stands on.
BELOW = {"ctl": "api", "node": "ctl", "csi": "node", "image": "csi", "cnpg": "csi", "plugin": "cnpg"}


def needed(level: str) -> list[Part]:
    """Parts of a level, or of the collection's image, and of what is below."""
    return [*(needed(BELOW[level]) if level in BELOW else []), *NEEDED[level]]


def unbuilt(level: str) -> list[Part]:
    return [part for part in needed(level) if not part.built]


@contextmanager
def building() -> Iterator[None]:
    """One builder at a time, in this cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another run builds the cluster's parts; waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(level: str, seconds: float = inf) -> None:
    """Build what a level lacks, in so many seconds at most. CannotBuild: why not."""
    until = time.monotonic() + seconds
    if not unbuilt(level):
        return
    with building():
        for part in unbuilt(level):
            _build(part, until)
        _prune()


def _build(part: Part, until: float = inf) -> None:
    if part.script in GO and not shutil.which("go"):
        raise CannotBuild(
            "the cluster's programs are built by Go, which is not here (1.26 or newer; https://go.dev/dl)"
        )
    if not shutil.which("apt-get"):
        raise CannotBuild("the images are made of Debian's packages, and there is no apt-get here")
    started = time.monotonic()
    print(f"Building {part.name} …", flush=True)
    log = CACHE / f"{part.name}.log"
    work = Path(tempfile.mkdtemp(prefix=f"build-{part.name}-", dir=CACHE))
    try:
        out = work / "out"
        out.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))},
            **VERSIONS,
            "HERE": str(BUILD),
            "OUT": str(out),
            "WORK": str(work),
            "WITHOUT": str(part.below.path / "packages.txt") if part.below else "",
        }
        status = _call(["bash", str(BUILD / part.script), *part.arguments], work, log, environment, until)
        if status is None:
            raise CannotBuild(
                f"{part.name} was not built in the time that there was; what is compiled is kept, and the next run goes on"
            )
        if status:
            # `go mod download -json` fails without a word, and is the first that asks the proxy.
            silent = "the Go module proxy is out of reach" if part.script in GO else "no output"
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise CannotBuild(f"{part.name} cannot be built here: {lines[-1] if lines else silent} (all of it: {log})")
        out.chmod(0o755)
        PARTS.mkdir(exist_ok=True)
        out.rename(part.path)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(work)], check=False)  # Go's modules are read-only
        shutil.rmtree(work, ignore_errors=True)
    print(f"Built {part.name} in {time.monotonic() - started:.0f} s.", flush=True)


def _call(command: list[str], work: Path, log: Path, environment: dict[str, str], until: float) -> int | None:
    """Its exit status; None when the time was over. Nothing of it is left running, however this ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=work,
            start_new_session=True,
        )  # fmt: skip
    try:
        return process.wait(None if until == inf else max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def touch(level: str) -> None:
    """Told by every run that uses these parts, so that they stay."""
    for part in needed(level):
        if part.built:
            os.utime(part.path)


def _prune() -> None:
    current = {part.path for parts in NEEDED.values() for part in parts}
    for path in PARTS.iterdir():
        if path not in current and time.time() - path.stat().st_mtime > KEPT_DAYS * 86400:
            print(f"Removing {path.name}, which nobody used for {KEPT_DAYS} days.", file=sys.stderr)
            shutil.rmtree(path, ignore_errors=True)
