# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal: whether the WAL-G of this host can do what the settings ask, before PostgreSQL asks it to.

Brotli and libsodium are options of its build, a key may be unreadable, a method misspelt. So one small file is pushed into a
directory that is gone afterwards, with the compression and the encryption that the server will have.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.options import WAL
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.program import Program
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

_NAME = "000000010000000000000001"
_CONTENT = b"holdfast.postgres rehearses\n" * 64
_METHOD = ("WALG_COMPRESSION_METHOD", "WALG_PGP_", "WALG_LIBSODIUM_", "WALG_CSE_", "YC_")


def rehearse(path: str, owner: str, settings: Mapping[str, str]) -> None:
    """Raises BadOption: it cannot do it; its own words say what."""
    entry = account(owner)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
        data, store = os.path.join(scratch, "data"), os.path.join(scratch, "store")
        for made in (data, os.path.join(data, "pg_wal"), store):
            os.mkdir(made, 0o700)
        with open(os.path.join(data, "pg_wal", _NAME), "wb") as stream:
            stream.write(_CONTENT)
        if entry.pw_uid != os.geteuid():
            for folder, _folders, names in os.walk(scratch):
                for made in (folder, *(os.path.join(folder, name) for name in names)):
                    os.chown(made, entry.pw_uid, entry.pw_gid)
        ours = {name: value for name, value in settings.items() if name.startswith(_METHOD)}
        ours.update(WALG_FILE_PREFIX=store, PGDATA=data, WALG_UPLOAD_CONCURRENCY="1")
        configuration = os.path.join(scratch, "rehearsal.json")
        files.put(configuration, json.dumps(ours), owner)
        try:
            Program(path, configuration, owner, settings).run("wal-push", os.path.join(data, "pg_wal", _NAME))
        except ToolError as exc:
            method = settings["WALG_COMPRESSION_METHOD"]
            raise BadOption(
                "compression or encryption", method, f"does not work with this WAL-G. {exc}",
                "Choose another one, or install a WAL-G that is built with it.",
            ) from exc  # fmt: skip
        _look(os.path.join(store, WAL), any(name.startswith(_METHOD[1:]) for name in ours))
        _read_back(Program(path, configuration, owner, settings), os.path.join(data, "fetched"), settings)


def _look(folder: str, encrypted: bool) -> None:
    """What was pushed must be there, and not to be read, if it is to be encrypted: then its bytes look like chance."""
    pushed = os.listdir(folder) if os.path.isdir(folder) else []
    if len(pushed) != 1:
        raise BadOption("program", "wal-g", f"pushed one file, and {len(pushed)} are there", "Install another WAL-G.")
    with open(os.path.join(folder, pushed[0]), "rb") as stream:
        start = stream.read(4)
    magic = {".lz4": b"\x04\x22\x4d\x18", ".zst": b"\x28\xb5\x2f\xfd"}.get(os.path.splitext(pushed[0])[1])
    if encrypted and start in (magic, _CONTENT[:4]):
        raise BadOption("encryption", "(hidden)", "was left out by this WAL-G without a word", "Install another WAL-G.")


def _read_back(wal_g: Program, path: str, settings: Mapping[str, str]) -> None:
    """What cannot be read again is no archive: public keys alone do for writing, and so does ``none`` before 3.0.9."""
    try:
        wal_g.run("wal-fetch", _NAME, path, environment={"WALG_DOWNLOAD_CONCURRENCY": "1"})
        with open(path, "rb") as stream:
            same = stream.read() == _CONTENT
    except (ToolError, OSError) as exc:
        keys = settings.get("WALG_PGP_KEY_PATH")
        if keys:
            raise BadOption(
                "encryption.recipients", keys, f"encrypts, and what it encrypts cannot be read again. {exc}",
                "Put the private key into that file too: a segment that comes twice (after a crash) is compared with what is there, "
                "and archiving would stop for good where it cannot be.",
            ) from exc  # fmt: skip
        raise BadOption(
            "compression", settings["WALG_COMPRESSION_METHOD"], f"makes an archive that this WAL-G cannot read again. {exc}",
            "Choose another one (zstd, lz4), or install a newer WAL-G.",
        ) from exc  # fmt: skip
    if not same:
        raise BadOption(
            "compression or encryption", settings["WALG_COMPRESSION_METHOD"], "gives back other content than was pushed",
            "Install another WAL-G.",
        )  # fmt: skip
