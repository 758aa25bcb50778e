# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of a restored server: what it includes is found, and lies where it will be started. A file of the data
directory that is named by its old path, which may be a live server's, is named by its new one; one from outside is brought along,
or is this host's own, which is said; and what is nowhere is told before anything is stopped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import quoted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import (
    DIRECTORY,
    LIST,
    TLS,
    Reference,
    references,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import may
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

BROUGHT = "holdfast_included"  # in the data directory: files that lay outside the old one
_RULES = {"hba_file": "pg_hba.conf", "ident_file": "pg_ident.conf"}


@dataclass
class Found:
    """``hosts``: files of this host that the server reads; ``missing``: sentences about what it cannot start without."""

    hosts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class ConfigurationFiles:
    """Those of the server in ``staged``, which will lie in ``final`` and lay in ``original``. ``unpacked`` has what the backup brought from
    outside the data directory, by absolute paths below it. ``own``: the host's files take precedence over the backup's, as the server
    comes back to its own host."""

    def __init__(self, staged: str, final: str, original: Optional[str], unpacked: str, owner: str, own: bool) -> None:
        self._staged, self._final, self._unpacked, self._owner, self._own = staged, final, unpacked, owner, own
        self._data = [path for path in dict.fromkeys([original, final, staged]) if path]
        self._main = ""  # the directory of a postgresql.conf that lay outside
        self._done: set[str] = set()
        self.found = Found()

    def bring_main(self, main: str) -> None:
        """The postgresql.conf itself lay outside, at the absolute path ``main``, and the backup has it."""
        self._main = os.path.dirname(main)
        self._take(main, "postgresql.conf")

    def settle(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Make every include of the postgresql.conf in the data directory lead to where the file is, and those of the rules for clients.
        ``settings`` are those in force. Returns the settings that name other files now."""
        self._settle("postgresql.conf", rules=False)
        changed = {}
        for name, default in _RULES.items():
            value = settings.get(name) or default
            path = os.path.normpath(os.path.join(self._main or self._staged, value))
            rel = self._where(path, False)
            if rel is not None:
                if os.path.isabs(value):
                    changed[name] = os.path.join(self._final, rel)
                self._settle(rel, rules=True)
            elif not os.path.exists(path) and name == "hba_file":
                self.found.missing.append(f"{name} is {path}, which is not there.")
            elif os.path.exists(path):
                self.found.hosts.append(path)
        return changed

    def check_tls(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Whether what TLS reads is there and can be read. Returns the settings that name other files now."""
        changed: dict[str, str] = {}
        if settings.get("ssl", "off").lower() not in ("on", "true", "yes", "1"):
            return changed
        for name, default in TLS.items():
            value = settings.get(name, default)
            if not value:
                continue
            path = os.path.normpath(os.path.join(self._staged, value))
            rel = self._inside(path)
            if rel is not None and os.path.isabs(value) and os.path.exists(os.path.join(self._staged, rel)):
                changed[name] = rel
            there = os.path.join(self._staged, rel) if rel is not None else path
            way_out = "To start it without TLS: settings: {ssl: 'off'}."
            if not may(self._owner, "-r", there):
                self.found.missing.append(
                    f"{name} is {value}, which is not there, or which {self._owner} may not read. {way_out}"
                )
            elif name == "ssl_key_file" and _open_to_others(there, self._owner):
                self.found.missing.append(
                    f"{name} is {value}, which others may read too, or which belongs to somebody else than {self._owner} or root: PostgreSQL "
                    f"takes no such key (chmod 600). {way_out}"
                )
        return changed

    def _settle(self, rel: str, rules: bool) -> None:
        """Follow what a file of the data directory names, and write it anew where a name leads elsewhere."""
        path = os.path.join(self._staged, rel)
        if rel in self._done or not os.path.isfile(path):
            return
        self._done.add(rel)
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
        lines, came_from = text.splitlines(), self._came_from(rel)
        rewritten = False
        for reference in references(text, came_from, rules):
            inner = self._where(reference.path, reference.kind == DIRECTORY)
            if inner is None:
                self._outside(reference)
                continue
            name = os.path.relpath(inner, os.path.dirname(rel))
            if os.path.normpath(reference.text) != name:
                lines[reference.line] = _renamed(lines[reference.line], reference, name, rules)
                rewritten = True
            if reference.kind != DIRECTORY:
                self._settle(inner, rules)
                continue
            for entry in sorted(os.listdir(os.path.join(self._staged, inner))):
                if entry.endswith(".conf") and entry[0] != ".":
                    self._settle(os.path.join(inner, entry), rules)
        if rewritten:
            put(path, "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n", self._owner)

    def _came_from(self, rel: str) -> str:
        """Where a file of the new data directory lay, so that what it names is read as it was meant."""
        if rel.startswith(BROUGHT + "/"):
            return rel[len(BROUGHT) :]
        if self._main:
            return os.path.join(self._main, rel)
        return os.path.join(self._staged, rel)

    def _inside(self, path: str) -> Optional[str]:
        """A path of the old, or the new data directory, relative to it; None: it lies outside."""
        for folder in self._data:
            if path.startswith(folder + "/"):
                return os.path.relpath(path, folder)
        return None

    def _where(self, path: str, directory: bool) -> Optional[str]:
        """Where in the data directory something is that is named by an absolute path; None: it is not in it."""
        rel = self._inside(path)
        exists = os.path.isdir if directory else os.path.isfile
        if rel is not None and exists(os.path.join(self._staged, rel)):
            return rel
        if rel is not None:
            # A link in the old data directory: its content came beside.
            came = next((old for old in self._data if exists(os.path.join(self._unpacked + old, rel))), None)
            return None if came is None else self._take(os.path.join(came, rel), rel)
        if (self._own and exists(path)) or not exists(self._unpacked + path):
            return None
        if self._main and path.startswith(self._main + "/"):
            return self._take(path, os.path.relpath(path, self._main))
        return self._take(path, BROUGHT + path)

    def _take(self, path: str, rel: str) -> str:
        """Bring a file, or a directory with its files, from what was unpacked."""
        target, source = os.path.join(self._staged, rel), self._unpacked + path
        if os.path.exists(target) and rel not in ("postgresql.conf", *_RULES.values()):
            return rel
        make_directory(os.path.dirname(target), self._owner)
        if not os.path.isdir(source):
            with open(source, "rb") as stream:
                put(target, stream.read(), self._owner)
            return rel
        make_directory(target, self._owner)
        for name in sorted(os.listdir(source)):
            if os.path.isfile(os.path.join(source, name)):
                self._take(os.path.join(path, name), os.path.join(rel, name))
        return rel

    def _outside(self, reference: Reference) -> None:
        """What a file names is not in the data directory."""
        there = os.path.isdir if reference.kind == DIRECTORY else os.path.isfile
        if self._inside(reference.path) is None and there(reference.path):
            self.found.hosts.append(reference.path)
        elif reference.needed:
            self.found.missing.append(
                f"{reference.by.replace(self._staged, self._final)} (line {reference.line + 1}) includes {reference.path}, which is not "
                "there, and no backup has it."
            )


def _renamed(line: str, reference: Reference, name: str, rules: bool) -> str:
    """The line of a configuration file with another name for what it includes."""
    if reference.kind == LIST:
        return line.replace(f'@"{reference.text}"', f"@{reference.text}").replace(f"@{reference.text}", f'@"{name}"')
    told = f'"{name}"' if rules else quoted(name)
    return f"{reference.kind} {told}  # {line.strip()}"


def _open_to_others(path: str, owner: str) -> bool:
    """Whether PostgreSQL would refuse a key. Source: check_ssl_key_file_permissions in be-secure-common.c"""
    found = os.stat(path)
    if found.st_uid == 0:
        return bool(found.st_mode & 0o137)
    return found.st_uid != account(owner).pw_uid or bool(found.st_mode & 0o177)
