# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad days, made on purpose: networks, disks, programs and files that fail."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

# Networks


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a host that accepts connections and never says a word."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)  # the kernel accepts; nobody reads
        yield int(listener.getsockname()[1])


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can take meanwhile."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening
        yield int(holder.getsockname()[1])


def has_ipv6() -> bool:
    """Can a server listen on ::1 here?"""
    with suppress(OSError), closing(socket.socket(socket.AF_INET6)) as listener:
        listener.bind(("::1", 0))
        return True
    return False


class Proxy:
    """A port before a real server, whose line can be slow, hang or break, so that things happen half-way.

    Use it as a context manager, and connect to `port` in place of the server's.
    """

    def __init__(self, target_port: int, bytes_per_second: int | None = None) -> None:
        self.bytes_per_second = bytes_per_second
        self.passed = 0  # bytes from the server, of all connections
        self._target_port = target_port
        self._flowing = threading.Event()
        self._flowing.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        self.cut()

    def wait_for(self, count: int, timeout: float = 60) -> None:
        """Return when the server has sent so many bytes."""
        deadline = time.monotonic() + timeout
        while self.passed < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.passed} bytes passed in {timeout} s, not {count}")
            time.sleep(0.01)

    def hang(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Break all connections; new ones are still accepted, until the proxy ends."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:  # closed: the end
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:  # the server is down: the client sees a connection that ends at once
                client.close()
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with suppress(OSError):
            while True:
                # Small pieces when slow, so that the rate holds at any moment and not only on average.
                rate = self.bytes_per_second if from_server else None
                data = source.recv(65536 if rate is None else max(1, rate // 50))
                if not data:
                    break
                self._flowing.wait()
                target.sendall(data)
                if from_server:
                    self.passed += len(data)
                if rate:
                    time.sleep(len(data) / rate)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# Disks


def can_mount() -> bool:
    """May this process mount file systems? As root on a machine of one's own; not in most containers."""
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )


@contextmanager
def small_filesystem(path: Path, size: str = "2m") -> Iterator[Path]:
    """A file system of this size (as mount's option names it) on a directory, made if need be. Needs `can_mount`."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "lab", str(path)], check=True)
    try:
        yield path
    finally:
        # Lazily: a process that was killed may not be quite gone.
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[Path]:
    """A directory that cannot be written: for root by a mount (needs `can_mount`), else by its mode."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(path)], check=True)
            yield path
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)
        return
    mode = path.stat().st_mode
    path.chmod(0o555)
    try:
        yield path
    finally:
        path.chmod(mode)


# Files


def flip_byte(path: Path, offset: int | None = None) -> None:
    """One byte of a file becomes another: by default the one in the middle."""
    with path.open("r+b") as file:
        at = path.stat().st_size // 2 if offset is None else offset
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 0xFF]))


def truncate(path: Path, by: int = 1) -> None:
    """A file loses its last bytes."""
    os.truncate(path, path.stat().st_size - by)


# Programs


def dying_program(bindir: Path, name: str, directory: Path, after_bytes: int) -> Path:
    """A copy of a directory of programs in which one of them is killed when it has written so many bytes.

    It is the real program: its first bytes are real, and it ends by SIGKILL, as under memory pressure. Only for
    programs that write to standard output; where they write files, they get to their end.
    """
    copy = directory / "bin"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for program in bindir.iterdir():
        (copy / program.name).symlink_to(program)
    (copy / name).unlink()
    (copy / name).write_text(
        "#!/bin/sh\n"
        # Questions for its version or help are answered as ever.
        f'case "$*" in *--version*|*--help*) exec {shlex.quote(str(bindir / name))} "$@";; esac\n'
        f'{shlex.quote(str(bindir / name))} "$@" | head -c {after_bytes}\n'
        "kill -KILL $$\n"
    )
    (copy / name).chmod(0o755)
    return copy
