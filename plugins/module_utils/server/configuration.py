# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's configuration as the server reads it: every file that a file includes, and what is not there. The files may lie on this
host, in what was unpacked of a backup, or on the far side of a connection.

Sources: https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE and
https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional, Protocol

INCLUDE, IF_EXISTS, DIRECTORY, LIST = "include", "include_if_exists", "include_dir", "@"
#: What TLS reads, each with its default
TLS = {
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "",
    "ssl_crl_file": "",
    "ssl_crl_dir": "",
    "ssl_dh_params_file": "",
}

_DEPTH = 10  # as PostgreSQL has it
# A name, perhaps an equals sign, and a value: quoted, or without blanks.
_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=?\s*('(?:[^'\\]|''|\\.)*'|[^\s#']*)")
_TOKEN = re.compile(r'(?:"[^"]*"|[^\s,"#])+|#.*')


class Files(Protocol):
    """Where files are read: paths are absolute."""

    def read(self, path: str) -> Optional[str]:
        """The text of a file; None: it is not there, or cannot be read."""

    def names(self, path: str) -> Optional[Sequence[str]]:
        """What is in a directory; None: it is not there."""


class LocalFiles:
    """Those of this host; with a ``root``, those that were unpacked below it."""

    def __init__(self, root: str = "") -> None:
        self._root = root

    def read(self, path: str) -> Optional[str]:
        try:
            with open(self._root + path, encoding="utf-8", errors="surrogateescape") as stream:
                return stream.read()
        except OSError:
            return None

    def names(self, path: str) -> Optional[Sequence[str]]:
        try:
            return sorted(os.listdir(self._root + path))
        except OSError:
            return None


@dataclass(frozen=True)
class Reference:
    """A file or directory that a line of a configuration file names. ``path`` is absolute, ``text`` as it is written, ``line`` counts
    from 0."""

    kind: str
    path: str
    text: str
    by: str
    line: int

    @property
    def needed(self) -> bool:
        """Whether the server does not start, or not with all of its rules, where it is not there."""
        return self.kind != IF_EXISTS


@dataclass
class Configuration:
    """What was read: ``settings``, the last of a name counts; ``files`` with their texts and ``directories`` that were included, by
    path; ``missing``: what is named, needed, and not there."""

    settings: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    missing: list[Reference] = field(default_factory=list)


def parsed(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, name in small letters, and value without its quotes of each setting of a configuration file, in order. Pure."""
    for number, line in enumerate(text.splitlines()):
        found = _SETTING.match(line)
        if found:
            value = found.group(2)
            if value.startswith("'"):
                value = re.sub(r"''|\\(.)", lambda pair: pair[1] or "'", value[1:-1])
            yield number, found.group(1).lower(), value


def references(text: str, by: str, rules: bool = False) -> list[Reference]:
    """What the file ``by`` names; ``rules``: it is a pg_hba.conf or pg_ident.conf, or one that these include. Pure."""
    folder = os.path.dirname(by)

    def made(kind: str, name: str, line: int) -> Reference:
        return Reference(kind, os.path.normpath(os.path.join(folder, name)), name, by, line)

    if not rules:
        named = parsed(text)
        return [
            made(name, value, line) for line, name, value in named if name in (INCLUDE, IF_EXISTS, DIRECTORY) and value
        ]
    found = []
    for number, line in enumerate(text.splitlines()):
        tokens = [token for token in _TOKEN.findall(line) if not token.startswith("#")]
        if len(tokens) > 1 and tokens[0] in (INCLUDE, IF_EXISTS, DIRECTORY):
            found.append(made(tokens[0], tokens[1].replace('"', ""), number))
            continue
        found += [made(LIST, token[1:].replace('"', ""), number) for token in tokens if re.match('@"?[^"]', token)]
    return found


def read_settings(files: Files, paths: Iterable[str]) -> Configuration:
    """Configuration files with all that they include, in the order in which the server reads them."""
    found = Configuration()
    for path in paths:
        _read_settings(files, path, found, 0)
    return found


def _read_settings(files: Files, path: str, found: Configuration, depth: int) -> bool:
    text = files.read(path)
    if text is None or depth > _DEPTH:
        return text is not None
    found.files[path] = text
    named = {reference.line: reference for reference in references(text, path)}
    for line, name, value in parsed(text):
        if line not in named:
            found.settings.pop(name, None)
            found.settings[name] = value
            continue
        for inner in _expanded(files, named[line], found):
            if not _read_settings(files, inner, found, depth + 1) and named[line].needed:
                found.missing.append(named[line])
    return True


def read_rules(files: Files, path: str, found: Configuration) -> None:
    """A pg_hba.conf or pg_ident.conf, with all that it names; the file itself may be missing."""
    _read_rules(files, path, found, 0)


def _read_rules(files: Files, path: str, found: Configuration, depth: int) -> bool:
    text = files.read(path)
    if text is None or depth > _DEPTH:
        return text is not None
    found.files[path] = text
    for reference in references(text, path, rules=True):
        for inner in _expanded(files, reference, found):
            if not _read_rules(files, inner, found, depth + 1) and reference.needed:
                found.missing.append(reference)
    return True


def _expanded(files: Files, reference: Reference, found: Configuration) -> list[str]:
    """The files that a reference means, in the order in which they are read."""
    if reference.kind != DIRECTORY:
        return [reference.path]
    names = files.names(reference.path)
    if names is None:
        found.missing.append(reference)
        return []
    found.directories.append(reference.path)
    return [os.path.join(reference.path, name) for name in sorted(names) if name.endswith(".conf") and name[0] != "."]


def in_force(*paths: str) -> dict[str, str]:
    """What configuration files of this host say, with all that they include. What cannot be read is not told."""
    return read_settings(LocalFiles(), paths).settings
