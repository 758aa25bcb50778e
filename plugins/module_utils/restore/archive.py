# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive of pg_dump says of itself: its definitions, its list of entries. Reads only."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, OnBytes, run
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import toc
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools


class ArchiveReader:
    """Asks pg_restore about archives; ``scratch`` is where one is laid out that it must seek in."""

    def __init__(self, tools: Tools, scratch: str, on_bytes: OnBytes) -> None:
        self._tools, self._scratch, self._on_bytes = tools, scratch, on_bytes
        self._definitions: dict[int, list[toc.Entry]] = {}

    def extensions(self, dump: Dump) -> set[str]:
        """Names of the extensions that the dump makes, as far as it can be read."""
        return toc.extensions(self.entries(dump))

    def checks_name(self, dump: Dump) -> bool:
        """Whether a constraint asks for the database's name."""
        return toc.checks_name(self.entries(dump))

    def heads(self, dump: Dump) -> dict[tuple[str, str], tuple[str, str]]:
        """The tables that partitions are attached to, by the partitions' names."""
        found = {}
        for entry in self.entries(dump):
            if entry.type == "TABLE ATTACH":
                needed = [self.by_id(dump)[number] for number in entry.needs if number in self.by_id(dump)]
                own = (entry.schema, entry.name)
                others = [(one.schema, one.name) for one in needed if one.type == "TABLE"]
                for head in (name for name in others if name != own):
                    found[own] = head
        return found

    def entries(self, dump: Dump) -> list[toc.Entry]:
        """The definitions in an archive; none of a script."""
        if dump.format == "plain":
            return []
        if id(dump) not in self._definitions:
            text = self._read_archive(dump, ["--verbose", "--schema-only", "--file=-"])
            self._definitions[id(dump)] = toc.parse(text)
        return self._definitions[id(dump)]

    def by_id(self, dump: Dump) -> dict[int, toc.Entry]:
        """As ``entries``, by their numbers."""
        return {entry.id: entry for entry in self.entries(dump)}

    def listing(self, dump: Dump) -> list[toc.Line]:
        """The list of entries, as ``--use-list`` takes it."""
        return toc.parse_list(self._read_archive(dump, ["--verbose", "--list"]))

    def _read_archive(self, dump: Dump, arguments: Sequence[str]) -> str:
        """What pg_restore tells of an archive whose head alone is read."""
        argv = [self._tools.path("pg_restore"), *arguments]
        if dump.is_laid_out:
            return self.run(arguments, dump.lay_out(self._scratch, self._on_bytes))
        if dump.format == "directory":
            with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
                for name in ("toc.dat", "toc.dat.gz"):
                    if name in dump.streams:
                        dump.streams[name].save(os.path.join(directory, name), lambda made, out: None)
                return self.run(arguments, directory)
        with dump.stream.open() as source:
            return in_its_encoding(run([*_whatever(dump.stream.filters), Command(argv)], source))

    def run(self, arguments: Sequence[str], path: str) -> str:
        """What pg_restore prints of an archive at a path."""
        return in_its_encoding(run([Command([self._tools.path("pg_restore"), *arguments, path])]))


def _whatever(filters: Sequence[Command]) -> list[Command]:
    """Programs before one that reads the head alone: how they end when it goes away is no matter."""
    return [dataclasses.replace(command, ok=tuple(range(-64, 256))) for command in filters]


def in_its_encoding(output: bytes) -> str:
    """What pg_restore prints, in the archive's encoding; bytes that are none come back as they are when it is written again."""
    import psycopg2.extensions

    found = re.search(rb"^SET client_encoding = '(\w+)';$", output, re.MULTILINE)
    name = re.sub(r"\W|_", "", found.group(1).decode()).upper() if found else "UTF8"
    codecs = {re.sub(r"\W|_", "", key).upper(): codec for key, codec in psycopg2.extensions.encodings.items()}
    codec = codecs.get(name, "utf_8")
    return output.decode("utf_8" if codec == "ascii" else codec, "surrogateescape")
