# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump is read once and understood before anything is touched; what is refused says the way out.

A plain dump is read as psql would. An archive is turned into the script that pg_restore would run, and that is read: so an archive that is
damaged or cut off shows, and what its entries do beyond its database. Afterwards the dump knows its tables' rows.
"""

from __future__ import annotations

import os
import select
from typing import BinaryIO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.names import next_part
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Script
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.understand import understand
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.psql import check_restricted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools

_WAY_OUT = (
    "Nothing was touched. Take it out of the dump (better: make the dump anew without it), or run the script by psql yourself if you trust "
    "it."
)
_ROLES = (
    "Nothing was touched. It has nothing but roles, which are of the whole server: make them first (psql --file with it, if you trust it), then "
    "restore the database. Where its definitions and rows are in two files, put them into one: cat schema.sql data.sql > whole.sql"
)
#: of a dump that has rows and makes no table
ONLY_ROWS = (
    "Nothing was touched. Where its definitions are in another file (pg_dump --schema-only, or Supabase's schema.sql), put both into one: "
    "cat schema.sql data.sql > whole.sql (an archive becomes a script by pg_restore --file=data.sql). Into a database that is there go the "
    "rows of an archive alone with data_only."
)
_LOOK, _QUIET = 1, 20  # seconds between two looks at a program that says nothing, and after which one is given up

_DAMAGED = "Nothing was touched. Use another dump: this one was cut off, or damaged on its way."


def _damaged(dump: Dump) -> str:
    """The way out of a dump that is not whole."""
    following = next_part(os.path.basename(dump.origin)) if dump.origin else None
    if following and os.path.exists(os.path.join(os.path.dirname(str(dump.origin)), following)):
        return (
            f"Nothing was touched. Is it the first part of a file that was split? {following} is beside it: put the parts together by cat, in "
            "their order, and name that."
        )
    return _DAMAGED


def judge(dump: Dump, tools: Tools, server_major: int, asked: Optional[str], target: Optional[str]) -> None:
    """Understand a dump, and write what was found into it. Our own archives are known already: their checksums are compared.

    ``asked`` is the database that the user named; ``target`` the name under which it is to be restored, where that is another one.

    Raises:
        BadOption: it is refused: cut off, damaged, it reaches beyond its database, or it is another one's.
        ToolError: a program is missing or too old.
    """
    if dump.origin is None and dump.format != "plain":
        return
    if dump.format == "plain":
        check_restricted(tools)
    stream = dump.stream if dump.format == "plain" else _as_script(dump, tools)
    script = _read(dump, stream)
    dump.script = script
    if dump.origin is None:  # ours: properties and rows were recorded
        _refuse(dump, script)
        return
    _refuse(dump, script)
    dump.cluster = script.cluster
    _whose(dump, script, asked, target)
    dump.clause = script.clause
    if not script.cluster and "tables" not in dump.contents:
        dump.contents = {**dump.contents, "tables": script.tables()}
    if script.complete is None and dump.format == "plain":
        dump.notes.append(
            f"{dump.shown} is a script of another tool than pg_dump: it says nowhere whether it is complete, and its end proves little."
        )
    if not script.made and not script.cluster:
        dump.notes.append(f"{dump.shown} makes no table.")
    if script.crlf and dump.format == "plain":
        dump.notes.append(
            f"{dump.shown} has line ends of Windows: bodies of functions and other texts of several lines are restored with them."
        )
    if dump.format != "plain" and server_major < 17 <= tools.major:
        dump.as_script = stream  # it sets transaction_timeout, which the server does not know: an edit takes that out


def _as_script(dump: Dump, tools: Tools) -> Stream:
    """The script of an archive, its CREATE DATABASE too."""
    argv = [tools.path("pg_restore"), "--create", "--file=-"]
    if dump.format == "directory":
        return Stream(lambda: open("/dev/null", "rb"), [Command([*argv, str(dump.origin)])])
    return Stream(dump.stream.open, [*dump.stream.filters, Command(argv)])


def _read(dump: Dump, stream: Stream) -> Script:
    with stream.open() as source:
        if not stream.filters:
            return understand(source.read)
        with Chain(stream.filters, source) as chain:

            def read_on(most: int) -> bytes:
                return _output(dump, chain, source, most)

            script = understand(read_on)
            while read_on(1 << 20):
                pass
            try:
                chain.finish()
            except ToolError as exc:
                raise BadOption("source", dump.shown, f"cannot be read to its end: {exc}", _damaged(dump)) from exc
    return script


def _output(dump: Dump, chain: Chain, source: BinaryIO, most: int) -> bytes:
    """The next bytes that a chain makes. pg_restore goes round for ever at some damaged archives, at the end of what it reads: it is
    ended when it has said nothing for a while though there is nothing more to come. Raises BadOption."""
    fd, quiet = chain.output.fileno(), 0
    while not select.select([fd], [], [], _LOOK)[0]:
        quiet += _LOOK
        before = chain.processes[:-1]
        ended = all(process.poll() is not None for process in before) if before else _at_end(source)
        if quiet >= _QUIET and ended:
            raise BadOption("source", dump.shown, "cannot be read to its end: pg_restore finds none", _damaged(dump))
    return os.read(fd, most)


def _at_end(source: BinaryIO) -> bool:
    """Whether a program that reads a file has read it all: it shares our position. (A directory's stream is empty.)"""
    return 0 < os.fstat(source.fileno()).st_size <= os.lseek(source.fileno(), 0, os.SEEK_CUR)


def _refuse(dump: Dump, script: Script) -> None:
    if not script.problems:
        return
    way_out = script.way_out or (_damaged(dump) if script.complete is False or script.cut else _WAY_OUT)
    if script.only_roles and not script.cut:
        way_out = _ROLES
    raise BadOption("source", dump.shown, f"is refused: {'; '.join(script.problems)}", way_out)


def _whose(dump: Dump, script: Script, asked: Optional[str], target: Optional[str]) -> None:
    """Whose database it is: what the dump itself says, compared with what was asked for."""
    own = (dump.archive.database if dump.archive else None) or script.database
    dump.speaks_of = own
    named = dump.by_name or target is not None
    if own is not None and named and asked is not None and own != asked:
        raise BadOption(
            "source", dump.shown, f"is a dump of the database {own!r}, and not of {asked!r}",
            f"Nothing was touched. Name the file itself as source with databases: [{own}], or look for the right one.",
        )  # fmt: skip
    if dump.database is None:
        dump.database = own
