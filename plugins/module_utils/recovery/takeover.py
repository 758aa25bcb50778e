# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last third of a recovery, and of a standby that is made anew: consent, stop, swap, start, and taking it all back. What was
there before serves again when anything fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ServerError,
    Stopped,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as, service
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

_MORE = 60  # seconds that a stop or a start of a server may take beyond its own timeout, when the run was told to stop meanwhile
START_LOG = "holdfast-start.log"  # in the data directory: what a server says that we start by pg_ctl


class Takeover:
    """Puts what was made in ``directories`` in the place of ``old`` (None: nothing is there). ``unit``: the service that starts and
    stops both; None: pg_ctl does."""

    def __init__(
        self,
        directories: Directories,
        old: Optional[Instance],
        owner: str,
        unit: Optional[str],
        progress: Progress,
        timeout: int = 60,
    ) -> None:
        self._directories, self._old, self._owner, self._unit = directories, old, owner, unit
        self._progress, self._timeout = progress, timeout
        #: a killed run stopped it: it is down, and should not be
        found = directories.interrupted()
        self._stopped = found is not None and found.ran and old is not None
        #: what was made is where it stays, or was taken back already
        self._settled = False

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """While it is made, put in place, and started: what fails is cleared away, and the old server runs again if it was stopped.

        Raises:
            ServerError: what failed, and what became of the old server.
        """
        try:
            yield
        except BaseException as exc:
            if self._settled:
                raise
            stopping.more_time(120)  # a server that was stopped must not stay down
            left = self._directories.undo(self._owner)
            self._directories.clear()
            told = self._start_again(left)
            if isinstance(exc, HoldfastError) and told:
                raise ServerError(f"{exc} {told}") from exc
            if isinstance(exc, Stopped) and told:
                exc.left.append(told)
            raise

    def stop(self) -> None:
        """Stop the old server, if it runs, and put aside what would be in the way of replaying. Raises ServerError."""
        if self._old is not None:
            running = self._old.pid() is not None
            self._directories.begin(running or self._stopped, self._unit)
            if running:
                self._progress.step("stopping the server")
                self._stopped = True
                stop(self._old, self._unit)
        self._directories.make_room(self._owner)

    def swap(self) -> None:
        """Put the new directories in place, and the old ones aside. Raises ServerError; all is as it was."""
        self._progress.step("flushing what was made to the disk")
        flush([self._directories.staged(path) for path in self._directories.all])
        self._refuse_started(self._directories.data)
        self._directories.swap(self._owner)

    def _refuse_started(self, directory: str) -> None:
        """Raises ServerError: somebody else has started the old server, which lies in ``directory``, meanwhile: what was written to it
        since would be lost, and there would be two primaries."""
        if self._old is None or Instance(directory, self._old.bin_dir, self._owner).pid() is None:
            return
        raise ServerError(
            f"Somebody has started the old server in {self._directories.data} while the new one was being made (a boot, a service manager "
            "that restarts it, another play), and may have written to it. Nothing was replaced. See to it that nobody does (name its "
            "service, so that it is stopped by that), and run this again."
        )

    def leave(self) -> None:
        """It is in place, and somebody else starts it."""
        self._directories.end()
        self._settled = True

    def start(self, instance: Instance, what: str) -> None:
        """Start the new server for all; ``what`` it is, for messages.

        Raises:
            ServerError: it does not start as it is configured. The old one is back, and the new one lies beside.
        """
        self._progress.step(f"starting {what}")
        title = what[0].upper() + what[1:]
        # A stop comes too late to take it back: what is in place is started, or is taken back because it does not start.
        with _to_the_end(f"{title} was put in place, and was being started.", 2 * self._timeout + _MORE) as left:
            try:
                self._refuse_started(self._directories.data + self._directories.aside)
                try:
                    start(instance, self._unit, self._timeout)
                except HoldfastError:
                    if instance.pid() is None:
                        raise
                    # Somebody was quicker, and this is the one that is to run.
                    wait_until_ready(instance, self._timeout)
                self._directories.end()
                self._settled = True
                left.now(f"{title} is in place, and runs.")
            except HoldfastError as exc:
                with contextlib.suppress(HoldfastError):
                    if instance.pid() is not None:  # else the unit may be another one's
                        stop(instance, self._unit)
                back = self._directories.undo(self._owner)
                self._settled = True
                beside = self._directories.staged(self._directories.data)
                told = (
                    f"{title} was made, and could not be started: {exc} It lies in {beside}. {self._start_again(back)}"
                )
                left.now(told)
                raise ServerError(told) from exc

    def _start_again(self, left: Sequence[str]) -> str:
        """Start the old server, if it was stopped. ``left``: what of it could not be taken back. Returns what came of it, in words."""
        told = list(left)
        whole = "is as it was" if not left else "is whole, but for that"
        if self._stopped and self._old is not None:
            if self._old.pid() is not None:
                told.append(f"The old server {whole}, and runs.")
            elif not os.path.exists(os.path.join(self._old.directory, "PG_VERSION")):
                told.append("It was stopped, and stays down.")
            else:
                try:
                    start(self._old, self._unit, self._timeout)
                except HoldfastError as exc:
                    return " ".join([*told, f"The old server {whole}, and did not start again: {exc}"])
                self._stopped = False
                told.append(f"The old server {whole}, and runs again.")
        if not left:  # else the next run takes it back, once nothing is in the way
            self._directories.end()
        return " ".join(told)


def flush(paths: Sequence[str]) -> None:
    """Have the disks keep what was written below these directories, as far as they are there: after a power failure a new server whose files
    were still in memory alone would stand in the place of a whole one. What a standby unpacks nobody else flushes before it starts.

    Raises:
        ServerError: a disk could not.
    """
    there = [path for path in paths if os.path.isdir(path)]
    done = run_as(None, ["sync", "--file-system", *there]) if there else None
    if done is not None and done.returncode:
        raise ServerError(
            f"What was made in {', '.join(there)} could not be flushed to the disk: {' '.join(done.stdout.split())}. The disk is full or "
            "damaged (dmesg says more). Nothing was replaced."
        ) from ToolError.failed(done.args, done.returncode, done.stdout)


@contextlib.contextmanager
def _to_the_end(message: str, seconds: float) -> Iterator[stopping.Remains]:
    """A stop of the run waits for the end of this block, which takes so long at most: pg_ctl that is ended half-way leaves a server that
    starts, or ends, a moment after it was looked at. ``message``: what remains where not even that ended."""
    with stopping.remains(message, seconds=seconds) as left, stopping.held():
        yield left


def stop(instance: Instance, unit: Optional[str]) -> None:
    """Stop a server by its service, or by pg_ctl. Raises ServerError."""
    with _to_the_end(
        f"The server in {instance.directory} was being stopped: look whether it runs.", 60 + _MORE
    ) as left:
        try:
            if unit:
                service("stop", unit)
            if instance.pid() is not None:
                instance.stop()
        finally:
            left.now("")


def start(instance: Instance, unit: Optional[str], timeout: int = 60) -> None:
    """Start a server by its service, or by pg_ctl. Raises ServerError: it does not start, or the service starts another one."""
    with _to_the_end(
        f"The server in {instance.directory} was being started: look whether it runs.", timeout + _MORE
    ) as left:
        if unit:
            service("start", unit)
            if Waiter(timeout).until({"runs": lambda: True if instance.pid() is not None else None}) is None:
                raise ServerError(
                    f"systemctl start {unit} succeeded, and no server runs in {instance.directory} after {timeout} seconds: that is another "
                    f"one's unit, or the server ended at once (journalctl -u {unit} says why). Name the server's own by service."
                )
        else:
            instance.start(os.path.join(instance.directory, START_LOG), timeout=timeout)
        left.now(f"The server in {instance.directory} was started.")


def wait_until_ready(instance: Instance, timeout: int) -> None:
    """Until a server that somebody else has started takes connections. Raises ServerError: it does not."""

    def ready() -> Optional[bool]:
        if instance.pid() is None:
            raise ServerError(f"The server in {instance.directory} was started by somebody else, and ended.")
        with (
            contextlib.suppress(OSError),
            open(os.path.join(instance.directory, "postmaster.pid"), encoding="utf-8") as stream,
        ):
            lines = stream.read().splitlines()
            return True if len(lines) > 7 and lines[7].strip() in ("ready", "standby") else None
        return None

    if Waiter(timeout).until({"ready": ready}) is None:
        raise ServerError(f"The server in {instance.directory} was started by somebody else, and takes no connections.")
