# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine, with a stand-in for wal-g (standin.py): its decisions, files, environment and errors. Nothing here says
that WAL-G does what the stand-in does."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import LocalDirectories
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.engine import WalG
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    RepositoryError,
    ToolError,
    Unfinished,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

ME = pwd.getpwuid(os.geteuid())
SYSTEM_ID = "7507672962298572862"


class Place:
    """A repository, a configuration directory and the stand-in, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("backups", "program", "data"):
            (folder / name).mkdir()
        program = folder / "program" / "wal-g"
        text = Path(__file__).with_name("standin.py").read_text()
        program.write_text(f"#!{sys.executable} -IS\n{text}")
        program.chmod(0o700)
        self.host = Host(
            str(folder / "data"), ME.pw_name, 5432, "/run", "postgres", "/usr/bin", system_id=SYSTEM_ID, version_num=160009
        )  # fmt: skip
        self.options = RepositoryEngineOptions(
            "main", [self.store()], config_dir=str(folder / "etc"), program=str(program)
        )
        self.configuration = folder / "etc" / "main.wal-g.json"
        self.wal = folder / "backups" / "main" / "wal-g" / "wal_005"

    def store(self) -> dict[str, Any]:
        return {"type": "file", "path": str(self.folder / "backups")}

    def engine(self, **options: Any) -> WalG:
        return WalG(self.host, replace(self.options, **options))

    def misbehave(self, how: str) -> None:
        (self.folder / "program" / "misbehave").write_text(how)

    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "program" / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def ready(place: Place) -> WalG:
    engine = place.engine()
    engine.configure(check=False)
    engine.prepare(check=False)
    return engine


def back_up(engine: WalG, kind: str = "full", **annotations: str) -> Any:
    return engine.back_up(kind, annotations, Progress(None), cast(Archiving, Archived()))


class Archived:
    """There is no server here to ask."""

    def before(self) -> list[str]:
        return []

    def watch(self) -> None:
        pass

    def after(self, record: Any, progress: Progress) -> None:
        pass


# Setting up


def test_check_mode_says_what_the_run_then_does(place: Place) -> None:
    engine = place.engine()
    planned = [engine.configure(check=True), engine.prepare(check=True)]
    assert not place.configuration.exists() and not place.wal.parent.exists()
    assert [engine.configure(check=False), engine.prepare(check=False)] == planned
    assert [len(steps) for steps in planned] == [1, 1]
    assert place.engine().configure(check=False) == place.engine().prepare(check=False) == []
    assert place.configuration.stat().st_mode & 0o777 == 0o600
    assert json.loads(place.configuration.read_text())["WALG_PREVENT_WAL_OVERWRITE"] == "true"


def test_another_secret_is_a_change_and_is_not_said(place: Place) -> None:
    key, other = "0f" * 32, "1e" * 32
    encrypted = {"method": "aes256", "passphrase": key}
    assert len(place.engine(encryption=encrypted).configure(check=False)) == 1
    assert place.engine(encryption=encrypted).configure(check=True) == []
    (step,) = place.engine(encryption={**encrypted, "passphrase": other}).configure(check=True)
    assert key not in step.message and other not in step.message


def test_encryption_that_the_program_leaves_out_is_found_before_anything_is_written(place: Place) -> None:
    place.misbehave("plain")
    with pytest.raises(BadOption, match="left out by this WAL-G without a word"):
        place.engine(encryption={"method": "aes256", "passphrase": "0f" * 32}).configure(check=False)
    assert not place.configuration.exists()


def test_what_the_program_cannot_do_is_found_before_anything_is_written(place: Place) -> None:
    place.misbehave("wal-push")
    with pytest.raises(BadOption, match="does not work with this WAL-G(.|\n)*connection refused"):
        place.engine().configure(check=True)
    assert not place.configuration.exists()


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("wal-g version v1.1\tx\ty\tPostgreSQL", "too old"),
        ("wal-g version v3.0.7\tx\ty\tMySQL", "no WAL-G for PostgreSQL"),
        ("what?", "no WAL-G for PostgreSQL"),
    ],
)
def test_programs_that_will_not_do(place: Place, said: str, match: str) -> None:
    (place.folder / "program" / "version").write_text(said)
    with pytest.raises(ToolError, match=match):
        place.engine().configure(check=False)


def test_versions(place: Place) -> None:
    assert place.engine().version == "v3.0.7".lstrip("v")
    (place.folder / "program" / "version").write_text("wal-g version devel\tdevel\tdevel\tPostgreSQL")
    assert place.engine().version == "devel"


def test_no_program(place: Place) -> None:
    with pytest.raises(ToolError, match="Install wal-g 2.0 or newer"):
        place.engine(program=str(place.folder / "none")).configure(check=True)


def test_several_repositories(place: Place) -> None:
    with pytest.raises(BadOption, match="WAL-G keeps one"):
        place.engine(repositories=[place.store(), place.store()])


def test_a_mount_that_is_missing_is_not_made(place: Place, ready: WalG) -> None:
    shutil.rmtree(place.folder / "backups")
    for step in (lambda: ready.prepare(check=False), lambda: list(ready.wal.names())):
        with pytest.raises(RepositoryError, match="does not exist"):
            step()


def test_another_servers_backups(place: Place, ready: WalG) -> None:
    back_up(ready)
    place.host = replace(place.host, system_id="1")
    with pytest.raises(CatalogError, match=f"another server's: its system identifier is {SYSTEM_ID}"):
        place.engine().prepare(check=False)


def test_the_check_says_what_it_means(place: Place, ready: WalG) -> None:
    ready.check()
    place.misbehave("st")
    with pytest.raises(ToolError, match="connection refused(.|\n)*no WAL is archived"):
        ready.check()


# What it is called with


def test_our_environment_does_not_come_before_the_file(
    place: Place, ready: WalG, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "WALG_FILE_PREFIX",
        "WALG_S3_PREFIX",
        "WALG_PGP_KEY",
        "PGHOST",
        "PGSERVICE",
        "PGDATA",
        "WALG_LOG_LEVEL",
    ):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert list(place.engine().backups([])) == []
    told = place.calls()[-1]["environment"]
    assert "/elsewhere" not in told.values()
    assert (told["WALG_LOG_LEVEL"], told["HOME"]) == ("NORMAL", ME.pw_dir)


def test_commands_name_the_program_and_the_file(place: Place, ready: WalG) -> None:
    words = f"{place.options.program} --config {place.configuration}"
    assert ready.wal.archive_command() == f'{words} wal-push "%p" && sync {place.wal}/%f* {place.wal}'
    assert ready.wal.restore_command().startswith(f'{words} wal-fetch "%f" "%p"; ')


# Backups


def test_kinds_and_their_chain(place: Place, ready: WalG) -> None:
    early = back_up(ready, "incremental")
    assert (early.kind, early.parent) == ("full", None) and "This is a full backup" in early.warnings[0]
    full = back_up(ready, why="weekly")
    one, two = back_up(ready, "incremental"), back_up(ready, "differential")
    assert (full.kind, full.annotations, full.warnings) == ("full", {"why": "weekly"}, [])
    assert [(record.kind, record.parent) for record in (one, two)] == [
        ("incremental", full.id),
        ("differential", one.id),
    ]
    assert [record.id for record in ready.backups([])] == [early.id, full.id, one.id, two.id]
    pushes = [call for call in place.calls() if call["words"][0] == "backup-push"]
    assert [call["words"][1:-1] for call in pushes] == [[], ["--full"], [], []]
    origins = [call["environment"].get("WALG_DELTA_ORIGIN") for call in pushes]
    assert origins == ["LATEST", None, "LATEST", "LATEST_FULL"]


def test_a_backup_that_fails_leaves_none(place: Place, ready: WalG) -> None:
    place.misbehave("backup-push")
    with pytest.raises(ToolError, match="made no backup(.|\n)*connection refused"):
        back_up(ready)
    place.misbehave("")
    assert list(ready.backups([])) == []


def test_a_backup_of_another_server(ready: WalG, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_SYSTEM_ID", "1")
    with pytest.raises(Unfinished, match="backed up another server"):
        back_up(ready)


def test_verify_sees_what_is_missing(place: Place, ready: WalG) -> None:
    full, upon = back_up(ready), back_up(ready, "incremental")
    ready.verify(upon)
    parts = place.wal.parent / "basebackups_005" / full.id / "tar_partitions"
    (parts / "part_001.tar.zst").unlink()
    (parts / "pg_control.tar.zst").write_text("")
    (place.wal / f"{upon.id[5:29]}.zst").unlink()
    with pytest.raises(CatalogError) as damaged:
        ready.verify(upon)
    for words in (
        f"part_001.tar.zst of {full.id} is missing",
        f"pg_control.tar.zst of {full.id} is empty",
        f"the segment {upon.id[5:29]} is not in the archive",
    ):
        assert words in str(damaged.value)
    with pytest.raises(CatalogError, match="has no backup"):
        ready.verify(replace(full, id="base_000000010000000000000099"))


def test_a_chain_without_its_beginning_is_damaged(place: Place, ready: WalG) -> None:
    full, upon = back_up(ready), back_up(ready, "incremental")
    shutil.rmtree(place.wal.parent / "basebackups_005" / full.id)
    with pytest.raises(CatalogError, match=f"{full.id}, which {upon.id} needs, is not there"):
        ready.verify(upon)


def test_a_part_that_was_cut(place: Place, ready: WalG) -> None:
    full = back_up(ready)
    ready.verify(full)
    path = place.wal.parent / "basebackups_005" / full.id / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "compressed_size": 1000}))
    with pytest.raises(CatalogError, match="have 2 bytes, and it had sent 1000"):
        ready.verify(full)


# Deleting


def test_delete_takes_what_depends_and_then_the_wal(place: Place, ready: WalG) -> None:
    full, upon, other = back_up(ready), back_up(ready, "incremental"), back_up(ready)
    (place.wal / "00000002.history.zst").touch()
    assert ready.delete([full.id], True, []) == [full.id, upon.id]
    assert len(list(ready.backups([]))) == 3
    assert ready.delete([upon.id, full.id], False, []) == [full.id, upon.id]
    assert [record.id for record in ready.backups([])] == [other.id]
    assert list(ready.wal.names()) == [f"{other.id[5:29]}.zst", "00000002.history.zst"]
    assert all(
        "--use-sentinel-time" in call["words"] for call in place.calls() if call["words"][:2] == ["delete", "target"]
    )


def test_nothing_is_deleted_when_the_dry_run_takes_more(place: Place, ready: WalG) -> None:
    full, other = back_up(ready), back_up(ready)
    place.misbehave("more")
    with pytest.raises(ToolError, match="Nothing was deleted"):
        ready.delete([full.id], False, [])
    assert [record.id for record in ready.backups([])] == [full.id, other.id]


def test_wal_that_a_kept_backup_needs_stays_whatever_the_program_would_do(place: Place, ready: WalG) -> None:
    full, other = back_up(ready), back_up(ready)
    place.misbehave("newer")
    with pytest.raises(ToolError, match="that a kept backup may need"):
        ready.delete([full.id], False, [])
    assert f"{other.id[5:29]}.zst" in set(ready.wal.names())


# What a dry run says is said otherwise by each version (CASES 2.17): 3.0.8 appends the storage, 3.0.9 says it in other words.
@pytest.mark.parametrize(
    "dialect",
    [
        "\twill be deleted: {}",
        "\twill be deleted: {}, from storage: default",
        "Object marked for deletion: {} storage=default",
    ],
)
def test_every_dialect_of_a_dry_run(place: Place, ready: WalG, dialect: str) -> None:
    full, other = back_up(ready), back_up(ready)
    (place.folder / "program" / "dialect").write_text(dialect)
    assert ready.delete([full.id], False, []) == [full.id]
    assert [record.id for record in ready.backups([])] == [other.id]
    assert list(ready.wal.names()) == [f"{other.id[5:29]}.zst"]


def test_a_dialect_that_is_not_known_is_named_and_nothing_is_deleted(place: Place, ready: WalG) -> None:
    full, other = back_up(ready), back_up(ready)
    (place.folder / "program" / "dialect").write_text("would remove {}")
    with pytest.raises(
        ToolError, match=r"WAL-G 3\.0\.7 cannot be followed.*words that are not known.*Nothing was deleted"
    ):
        ready.delete([full.id], False, [])
    assert [record.id for record in ready.backups([])] == [full.id, other.id]


def test_a_backup_that_somebody_marked_permanent_keeps_the_wal_that_follows_it(place: Place, ready: WalG) -> None:
    """CASES 2.19: every retention run failed after its deletion."""
    permanent, going, staying = back_up(ready), back_up(ready), back_up(ready)
    path = place.wal.parent / "basebackups_005" / permanent.id / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "is_permanent": True}))
    place.misbehave("newer")  # as WAL-G does, which keeps the WAL of the permanent one's own time alone
    (place.wal / f"{staying.id[5:29]}.zst").rename(place.folder / "aside")
    before = list(ready.wal.names())
    warnings: list[str] = []
    assert ready.delete([going.id], False, warnings) == [going.id]
    assert permanent.id in warnings[0] and "marked permanent" in warnings[0] and list(ready.wal.names()) == before


def test_what_a_killed_backup_left(place: Place, ready: WalG) -> None:
    """CASES 2.19: it was in no list, and stayed for ever."""
    full = back_up(ready)
    assert ready.leftovers() == []
    left = "base_000000010000000000000009"
    parts = place.wal.parent / "basebackups_005" / left / "tar_partitions"
    parts.mkdir(parents=True)
    (parts / "part_001.tar.zst").write_text("x")
    assert ready.leftovers() == [left]
    assert ready.delete([left], True, []) == [left] and parts.exists()
    assert ready.delete([left], False, []) == [left] and not parts.parent.exists()
    assert [record.id for record in ready.backups([])] == [full.id] and ready.leftovers() == []


@pytest.mark.parametrize("pgp", [True, False])
def test_what_cannot_be_read_again_is_found_before_anything_is_written(place: Place, pgp: bool) -> None:
    """CASES 2.19 and 2.20: keys that can only encrypt, and ``none`` before 3.0.9, were found when archiving had been switched on."""
    place.misbehave("unreadable")
    keys = place.folder / "keys.asc"
    keys.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    options: dict[str, Any] = (
        {"encryption": {"method": "pgp", "recipients": [str(keys)]}} if pgp else {"compression": "none"}
    )
    with pytest.raises(BadOption, match="cannot be read again" if pgp else "cannot read again"):
        place.engine(**options).configure(check=False)
    assert not place.configuration.exists()


def test_an_unknown_label(ready: WalG) -> None:
    with pytest.raises(CatalogError, match="has no backup base_x"):
        ready.delete(["base_x"], False, [])


# The archive


def test_names(place: Place, ready: WalG) -> None:
    place.wal.mkdir(exist_ok=True)
    names = ["00000001000000000000000A.zst", "000000010000000000000002.lz4", "00000002.history.zst", "folder/x"]
    (place.wal / "folder").mkdir()
    for name in names:
        (place.wal / name).touch()
    assert list(ready.wal.names()) == sorted(names[:3])
    assert list(ready.wal.names("000000010000000000000002.lz4")) == [names[0], names[2]]
    assert list(ready.wal.names("00000003")) == [names[2]]


def test_fetch(place: Place, ready: WalG, tmp_path: Path) -> None:
    place.wal.mkdir()
    (place.wal / "000000010000000000000002.zst").write_bytes(b"a segment")
    path = tmp_path / "fetched"
    assert ready.wal.fetch("000000010000000000000002", str(path)) and path.read_bytes() == b"a segment"
    assert not ready.wal.fetch("000000010000000000000003", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    place.misbehave("wal-fetch")
    with pytest.raises(WalError, match="could not be fetched(.|\n)*connection refused"):
        ready.wal.fetch("000000010000000000000002", str(path))
    assert place.calls()[-1]["environment"]["WALG_DOWNLOAD_CONCURRENCY"] == "1"


def test_only_the_engine_removes_wal(ready: WalG) -> None:
    with pytest.raises(NotImplementedError):
        ready.wal.remove(["000000010000000000000002.zst"])


# Restoring


def test_restore(place: Place, ready: WalG, tmp_path: Path) -> None:
    record = back_up(ready)
    target = tmp_path / "target"
    target.mkdir()
    ready.restore(record, LocalDirectories(str(target), {}), Progress(None))
    assert (target / "backup_label").read_text() == record.id
    assert not (place.folder / "program" / "restored_spec.json").exists()


def test_tablespaces_always_have_a_specification(place: Place, ready: WalG, tmp_path: Path) -> None:
    spec = {"base_prefix": "/old", "tablespaces": ["16385"], "16385": {"loc": "/fast", "link": "pg_tblspc/16385"}}
    (place.folder / "program" / "spec.json").write_text(json.dumps(spec))
    record = back_up(ready)
    target = tmp_path / "target"
    target.mkdir()
    ready.restore(record, LocalDirectories(str(target), {}), Progress(None))
    assert json.loads((place.folder / "program" / "restored_spec.json").read_text()) == {
        **spec,
        "base_prefix": str(target),
    }


def test_a_restore_that_is_not_whole(place: Place, ready: WalG, tmp_path: Path) -> None:
    record = back_up(ready)
    place.misbehave("half")
    (tmp_path / "target").mkdir()
    with pytest.raises(ToolError, match="without global/pg_control"):
        ready.restore(record, LocalDirectories(str(tmp_path / "target"), {}), Progress(None))
    with pytest.raises(CatalogError, match="is not in the repository"):
        ready.restore(replace(record, id="base_0"), LocalDirectories(str(tmp_path / "target"), {}), Progress(None))
    place.misbehave("backup-fetch")
    with pytest.raises(ToolError, match="cannot be started"):
        ready.restore(record, LocalDirectories(str(tmp_path / "target"), {}), Progress(None))
