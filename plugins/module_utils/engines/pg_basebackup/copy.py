# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of pg_basebackup, whose archives are read while they are written.

It writes each tablespace as a file into a directory that must be empty when it starts; only a server without tablespaces can
be copied to a pipe, and then without its manifest beside it. So the archives' names are made as named pipes in the moment in
which it says that the copy begins: it opens them, and nothing is staged on the disk. One that it should have opened first,
as the server answered faster than we did, is a file, and is stored at the end.

When it fails it deletes what is in its directory: so the pipes themselves lie beside, where a reader that waits for its writer
can still be released, and the directory has hard links to them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils import guard
from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.lets_replicate import missing_rule

_BEGINS = "initiating base backup"
_LOOK = 1.0  # seconds between looks at a copy that says nothing


def copy(
    argv: Sequence[str],
    directory: str,
    names: Sequence[str],
    keep: Callable[[str, str], None],
    heard: Callable[[str], None] = lambda line: None,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run pg_basebackup into ``directory``, which must not be there yet. ``keep(name, path)`` stores one file; for ``names`` it
    is called in threads, with pipes, for others (the manifest) at the end. ``heard`` gets each line that it says; ``watch`` is called each second,
    and ends the copy by what it raises.

    Raises:
        ToolError: pg_basebackup failed; what ``keep`` raised, when that is why.
    """
    os.mkdir(directory, 0o700)
    argv = [*argv, f"--pgdata={directory}"]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as exc:
        raise ToolError.not_started(argv, exc) from exc
    guard.note(process)
    said: list[str] = []
    pipes: dict[str, str] = {}
    readers: dict[str, Background[None]] = {}

    def read(name: str, path: str) -> None:
        try:
            keep(name, path)
        except BaseException:
            process.terminate()  # else it would wait for ever for somebody to read
            raise

    try:
        for line in _lines(process, watch):
            said.append(line)
            heard(line)
            if _BEGINS in line and not pipes:
                pipes = _pipes(directory, names)
                readers = {name: _reader(read, name, path) for name, path in pipes.items()}
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        guard.forget(process)
        if process.stderr:
            process.stderr.close()
        for name, reader in readers.items():
            _release(pipes[name], reader)
    # When a reader failed, the store or a full disk is why: pg_basebackup only found its pipe broken.
    if code:
        for reader in readers.values():
            reader.result()
        output = "".join(said)
        raise ToolError.failed(argv, code, output, f"{_telling(said) or 'it said nothing'}.{_way_out(output)}")
    for reader in readers.values():
        reader.result()
    for name in sorted(os.listdir(directory)):
        if name not in readers:
            keep(name, os.path.join(directory, name))


def _lines(process: subprocess.Popen[bytes], watch: Callable[[], None]) -> Iterator[str]:
    """What it says, line by line, until it has closed its standard error."""
    stream = process.stderr
    if stream is None:
        return
    rest, looked = b"", time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            ready = selector.select(_LOOK)
            if time.monotonic() - looked >= _LOOK:
                watch()
                looked = time.monotonic()
            if not ready:
                continue
            data = os.read(stream.fileno(), 65536)
            *lines, rest = (rest + data).split(b"\n") if data else [rest, b""]
            yield from (line.decode("utf-8", "replace") + "\n" for line in lines if line)
            if not data:
                return


def _pipes(directory: str, names: Sequence[str]) -> dict[str, str]:
    """Named pipes, as far as pg_basebackup has no files yet of their names."""
    beside = f"{directory}.pipes"
    os.mkdir(beside, 0o700)
    made = {}
    for name in names:
        path = os.path.join(beside, name)
        os.mkfifo(path, 0o600)
        with contextlib.suppress(OSError):  # it has a file; or it has failed, and its directory is gone
            os.link(path, os.path.join(directory, name))
            made[name] = path
    return made


def _reader(keep: Callable[[str, str], None], name: str, path: str) -> Background[None]:
    return Background(lambda: keep(name, path))


def _release(path: str, reader: Background[None]) -> None:
    """A reader whose pipe nobody ever opened would wait for ever: open it, and close it."""
    while not reader.done():
        with contextlib.suppress(OSError):  # nobody reads it yet, or no more
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        reader.wait(0.2)


def _telling(said: Sequence[str]) -> str:
    telling = [
        line.strip() for line in said if "error" in line or "FATAL" in line or "DETAIL" in line or "HINT" in line
    ]
    return " / ".join(telling[-6:] or [line.strip() for line in said[-6:]]).rstrip(".")


def _way_out(text: str) -> str:
    rule = missing_rule(text)
    if rule:
        return f" {rule}."
    for part, hint in (
        ("promoted during", " The standby was promoted while it was copied: run the backup again."),
        ("must be superuser or replication role", " Give the role REPLICATION (the role setup does)."),
        ("permission denied to start WAL sender", " Give the role REPLICATION (the role setup does)."),
        ("number of requested standby connections exceeds", " Raise max_wal_senders."),
        ("WAL summar", " Set summarize_wal = on before the full backup, and take a full one."),
        ("has already been removed", " Keep more of it: wal_keep_size, or a slot (max_replication_slots)."),
        ("this build does not support compression", " Use compression_at: client, or another compression."),
        ("was generated for system identifier", " Take a full backup."),
    ):
        if part in text:
            return hint
    return ""
