# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, in words for the person who reads them at 3 a.m.

Each message is complete: what failed, on what, what it means for the data, the way out. Modules turn any
``HoldfastError`` into ``fail_json``; nothing else does.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from typing import Any, Optional

# What libpq, gpg and the stores' tools call a secret; their values never leave this process.
_NAMES = (
    r"(?:[\w-]{0,40}pass(?:word|wd|phrase|code)?|[\w-]{0,40}secret[\w-]{0,40}|[\w-]{0,40}token|[\w-]{0,40}[_-]key|sas)"
)
_SECRET = re.compile(rf"(?i)((?:\b|_|-){_NAMES}\s*[=:]\s*)('(?:[^'\\]|\\.)*'|\S+)")
_SECRET_OPTION = re.compile(rf"(?i)(?!--?no-)--?{_NAMES}")
_URI = re.compile(r"(\w://[^\s:/@]{0,256}:)[^\s/@]+@")
_MOST = 4096  # characters of what a program said


class Stopped(BaseException):
    """A signal told the run to stop. No ``Exception``: nobody who handles failures may take it for one, or try again.

    ``left``: what remains of what the run had begun, a sentence each (``stopping.remains``). ``changed``: whether something is
    other than it was.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"The run was stopped by {signal_name}.")
        self.signal_name = signal_name
        self.left: list[str] = []
        self.changed = False


class HoldfastError(Exception):
    """Anything that the user is told about."""

    def result(self) -> dict[str, Any]:
        """What a module's result says of it beside the message."""
        return {}


class Incomplete(HoldfastError):
    """Some of what was asked for was done, and some failed: ``done`` is what the result says of the first."""

    def __init__(self, message: str, done: dict[str, Any]) -> None:
        super().__init__(message)
        self.done = done

    def result(self) -> dict[str, Any]:
        return self.done


class BadOption(HoldfastError):
    """An option whose value cannot be used."""

    def __init__(self, option: str, value: object, problem: str, way_out: str) -> None:
        super().__init__(f"{option}: {value!r} {problem.rstrip('.')}. {way_out}")
        self.option = option


class ServerError(HoldfastError):
    """PostgreSQL refused, failed, or is not what it should be."""


class Unfinished(HoldfastError):
    """A backup was made, and what had to follow failed. ``backup`` is its record, as a result has it."""

    def __init__(self, message: str, backup: dict[str, Any]) -> None:
        super().__init__(message)
        self.backup = backup

    def result(self) -> dict[str, Any]:
        return {"changed": True, "backup": self.backup}


class ToolError(HoldfastError):
    """A program is missing, of the wrong version, or failed.

    Of one that failed ``argv``, ``rc`` (negative: the signal that killed it; None: it did not start, or not end in time) and
    ``output``, the end of what it said, come into the module's result as ``tool``; secrets are taken out of them. Who ran a program
    makes the error by ``failed``, ``not_started`` or ``too_slow``; one of another kind is raised from that.
    """

    def __init__(
        self, message: str, argv: Sequence[str] = (), rc: Optional[int] = None, output: Optional[str] = None
    ) -> None:
        super().__init__(message)
        self.argv, self.rc = arguments_without_secrets(argv), rc
        self.output = None if output is None else without_secrets(output)[-_MOST:]

    def result(self) -> dict[str, Any]:
        return {"tool": {"argv": self.argv, "rc": self.rc, "output": self.output}} if self.argv else {}

    @staticmethod
    def failed(argv: Sequence[str], rc: int, output: str, told: Optional[str] = None) -> ToolError:
        """A program that ended badly. ``told`` is what of its ``output`` tells why; all of it, where that is not given."""
        told = " ".join(output.split())[-_MOST:] if told is None else told
        message = f"{_name(argv)} {how_it_ended(rc)}" + (f": {told}" if told else " and said nothing.")
        return ToolError(message, argv, rc, output)

    @staticmethod
    def not_started(argv: Sequence[str], exc: OSError, way_out: str = "Install it, or name where it is.") -> ToolError:
        return ToolError(f"Cannot start {argv[0]}: {exc.strerror}. {way_out}", argv)

    @staticmethod
    def too_slow(argv: Sequence[str], seconds: float, output: str = "", told: str = "") -> ToolError:
        """A program that was ended after ``seconds``."""
        message = f"{_name(argv)} did not end within {seconds:g} seconds. {told}".rstrip()
        return ToolError(message, argv, None, output)


class NoSpace(ToolError):
    """A disk has not the room that is needed; nothing was touched."""


class RepositoryError(HoldfastError):
    """The place where backups are kept cannot be used."""


class ObjectLocked(RepositoryError):
    """The store forbids to delete an object: it is locked, or the credentials may not."""


class ObjectMissing(RepositoryError):
    """An object is not in the repository."""


class ObjectUnreadable(RepositoryError):
    """An object is in the repository, and the store does not hand it out: archived, or not for these credentials."""


class CatalogError(HoldfastError):
    """A manifest is missing, damaged, too new, or not what it says."""


class DamagedManifest(CatalogError):
    """A manifest is there, and is no manifest any more."""


class LockHeld(HoldfastError):
    """Another run works on the same server's backups."""


class WalError(HoldfastError):
    """The WAL archive is damaged, or does not hold what a recovery needs."""


def how_it_ended(rc: int) -> str:
    """An exit code as ``subprocess`` has it, for a message."""
    if rc >= 0:
        return f"failed with exit code {rc}"
    try:
        return f"was killed by {signal.Signals(-rc).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-rc}"


def _name(argv: Sequence[str]) -> str:
    return os.path.basename(argv[0])


def without_secrets(text: str) -> str:
    """A text in which the values of what is called password, token, secret or key, and passwords in URIs, are ``***``."""
    return _URI.sub(r"\1***@", _SECRET.sub(r"\1***", text))


def arguments_without_secrets(argv: Sequence[str]) -> list[str]:
    """Arguments as ``without_secrets``; also the one that follows an option of such a name."""
    return [
        "***"
        if before and _SECRET_OPTION.fullmatch(before) and not argument.startswith("-")
        else without_secrets(argument)
        for before, argument in zip(["", *argv], argv)
    ]


def causes(exc: BaseException) -> list[BaseException]:
    """An exception and those that it came from, the last one first."""
    found: list[BaseException] = []
    current: Optional[BaseException] = exc
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found
