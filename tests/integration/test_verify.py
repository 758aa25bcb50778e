# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a backup that was good when it was made, and a later day. Members, of dumps in each format and of copies of a server: one byte flipped in each part;
a part missing, empty, cut; content that is no good though its sum is what the manifest says (a dump that was cut before it was stored, in each format; an
archive without a file that PostgreSQL listed; an end that is missing); a manifest that is damaged; a segment of WAL missing, or another one under its name.
What is no damage, and marks nothing: another passphrase, none, a store that is away, a program that is missing, a backup that is deleted meanwhile. And
what follows: marked, kept, counted as none by the retention and the latest, good again later; check mode; the second run; budgets; tiers in turn."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.fault import flip_byte
from lab.playbooks import CHECKOUT, ModuleResult, run_module, run_playbook
from lab.servers import Server
from lab.stores import S3Server

SECRET = "a pass phrase: with 'everything' \\ in it"
AES256 = {"method": "aes256", "passphrase": SECRET}
FORMATS = ("custom", "plain", "directory", "tar")


class Kept:
    """Backups of one server, made once; each test damages a copy of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, kind: str, to: Path) -> tuple[Path, str]:
        """A copy of the repository with the backup of a kind, and the backup's folder in it."""
        shutil.copytree(self.path / kind, to / kind)
        (folder,) = (path for path in (to / kind / "main").iterdir() if (path / "manifest.json").exists())
        return to / kind, folder.name


@pytest.fixture(scope="module")
def kept(server_factory: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    server, path = server_factory(15), tmp_path_factory.mktemp("kept")
    server.psql("CREATE DATABASE shop")
    server.psql(
        "CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 3000) AS n; CREATE TABLE none (n int);"
        " SELECT lo_from_bytea(0, 'large'), lo_create(0)",
        "shop",
    )
    for kind in (*FORMATS, "sealed", "base"):
        (path / kind).mkdir()
        given: dict[str, Any] = {
            **server.client_options(),
            "repository": {"path": str(path / kind)},
            "compression": "zstd",
        }
        if kind == "base":
            given["engine"] = "pg_basebackup"
        else:
            given |= {"databases": ["shop"], "format": kind if kind in FORMATS else "custom"}
        if kind == "sealed":
            given["encryption"] = AES256
        ok(run_module("pg_backup", given))
    return Kept(path)


def verify(repository: Path | dict[str, Any], check: bool = False, **options: Any) -> ModuleResult:
    where = repository if isinstance(repository, dict) else {"path": str(repository)}
    return run_module("backup_verify", {"repository": where, **options}, check=check)


def good(done: ModuleResult) -> list[str]:
    return [entry["id"] for entry in ok(done)["verified"]]


def bad(done: ModuleResult, *words: str) -> dict[str, Any]:
    """The one backup that cannot be relied on, and what is said of it."""
    assert done.failed and "cannot be relied on" in done.msg, done.result or done.stderr
    assert "Traceback" not in done.stderr
    (entry,) = done.result["damaged"]
    for word in words:
        assert word in entry["text"] and word in done.msg, entry
    found: dict[str, Any] = entry
    return found


def not_known(done: ModuleResult, *words: str) -> None:
    """It could not be looked at, which marks nothing."""
    assert done.failed and not done.result.get("damaged"), done.result
    for word in words:
        assert word in done.msg, done.msg


def facts(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = ok(run_module("backup_facts", {"repository": {"path": str(repository)}}))["ansible_facts"][
        "holdfast_backups"
    ]
    return found


def parts(folder: Path) -> list[Path]:
    manifest = json.loads((folder / "manifest.json").read_text())
    return [folder / item["key"] for item in manifest["artifacts"]]


def forge(folder: Path, key: str, data: bytes) -> None:
    """Other content under a name, of which the manifest says that it is what was written."""
    (folder / key).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    for item in manifest["artifacts"]:
        if item["key"] == key:
            item |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def unpacked(path: Path, program: str = "zstd") -> bytes:
    import subprocess

    return subprocess.run([program, "-dc", str(path)], check=True, capture_output=True).stdout


def packed(data: bytes) -> bytes:
    import subprocess

    return subprocess.run(["zstd", "-qc"], check=True, input=data, capture_output=True).stdout


@pytest.mark.parametrize("kind", [*FORMATS, "sealed", "base"])
def test_a_good_one_is_read_once(kept: Kept, tmp_path: Path, kind: str) -> None:
    repository, name = kept.of(kind, tmp_path)
    manifest = (repository / "main" / name / "manifest.json").read_bytes()
    before = facts(repository)["backups"][0]["verified_at"]
    secret = {"encryption": AES256} if kind == "sealed" else {}
    planned = ok(verify(repository, check=True, **secret))
    assert planned["changed"] and name in planned["plan"][0] and "never before" in planned["plan"][0]
    assert not (repository / "main/_verified.json").exists()
    done = verify(repository, **secret)
    assert (
        good(done) == [name]
        and done.changed
        and done.result["plan"][0].split(" (")[0] == planned["plan"][0].split(" (")[0]
    )
    assert done.result["bytes"] > 0 and any(name in text for text in done.result["proof"]["proven"])
    assert facts(repository)["backups"][0]["verified_at"] >= before
    assert (repository / "main" / name / "manifest.json").read_bytes() == manifest
    again = ok(verify(repository, **secret))
    assert not again["changed"] and again["fresh"] == 1 and not again["verified"]
    assert not ok(verify(repository, check=True, **secret))["changed"]
    assert good(verify(repository, full=True, level="checksum")) == [name]  # needs no passphrase


@pytest.mark.parametrize("kind", [*FORMATS, "sealed", "base"])
def test_one_byte_in_each_part(kept: Kept, tmp_path: Path, kind: str) -> None:
    repository, name = kept.of(kind, tmp_path)
    secret = {"encryption": AES256} if kind == "sealed" else {}
    for path in parts(repository / "main" / name):
        whole = path.read_bytes()
        flip_byte(path)
        found = bad(verify(repository, **secret), path.name, "sha256 differs")
        assert (found["id"], found["level"], found["kept"]) == (name, "checksum", True)
        path.write_bytes(whole)
    assert facts(repository)["backups"][0]["verified_at"] is None
    assert "failed its verification" in " ".join(facts(repository)["problems"])
    again = ok(verify(repository, **secret))
    assert again["verified"][0]["cleared"] and facts(repository)["last_success"]


@pytest.mark.parametrize(
    ("damage", "level", "words"),
    [("missing", "presence", "is missing"), ("empty", "presence", "has 0 bytes"), ("cut", "presence", "instead of")],
)
def test_what_is_not_there_whole(kept: Kept, tmp_path: Path, damage: str, level: str, words: str) -> None:
    for kind in ("custom", "base"):
        repository, name = kept.of(kind, tmp_path)
        path = parts(repository / "main" / name)[0]
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-1])
        for asked in ("presence", "content"):
            assert bad(verify(repository, level=asked), path.name, words)["level"] == level


def test_a_dump_that_was_cut_before_it_was_stored(kept: Kept, tmp_path: Path) -> None:
    for kind in FORMATS:
        repository, name = kept.of(kind, tmp_path)
        folder = repository / "main" / name
        for path in parts(folder):
            key = str(path.relative_to(folder))
            if not key.startswith(("databases/", "globals", "cluster")) or "blob" in key:
                continue
            whole, manifest = path.read_bytes(), (folder / "manifest.json").read_bytes()
            data = unpacked(path) if key.endswith(".zst") else whole
            script = kind == "plain" and key.startswith("databases/") or key.startswith("globals")
            end = data[: data.rindex(b"dump complete")] if script else data[:-3]
            for left in (data[: len(data) // 2], end, b""):
                forge(folder, key, packed(left) if key.endswith(".zst") else left)
                found = bad(verify(repository, full=True), key)
                assert found["level"] == "content", (kind, key, found)
            path.write_bytes(whole)
            (folder / "manifest.json").write_bytes(manifest)
        assert good(verify(repository, full=True)) == [name]
        assert good(verify(repository, full=True, level="checksum")) == [name]


def test_rows_that_no_file_has(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("directory", tmp_path)
    folder = repository / "main" / name
    rows = next(path for path in parts(folder) if path.name.partition(".")[0].isdigit())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["artifacts"] = [item for item in manifest["artifacts"] if not item["key"].endswith(rows.name)]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert bad(verify(repository), "lacks the rows of 1 table")["level"] == "content"


def test_a_servers_files_are_those_that_postgresql_listed(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("base", tmp_path)
    folder = repository / "main" / name
    base = folder / "base.tar.zst"
    whole, manifest = base.read_bytes(), (folder / "manifest.json").read_bytes()
    plain = tmp_path / "plain.tar"
    plain.write_bytes(unpacked(base))

    def without(drop: Callable[[tarfile.TarInfo], bool], cut: int = 0) -> bytes:
        target = tmp_path / "other.tar"
        with tarfile.open(plain) as source, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as made:
            for member in source:
                if not drop(member):
                    data = source.extractfile(member) if member.isfile() else None
                    if cut and member.name == "base/1/1259":
                        member.size -= cut
                    made.addfile(member, data)
        return target.read_bytes()

    damages: dict[str, tuple[bytes, str]] = {
        "a file gone": (without(lambda member: member.name == "base/1/1259"), "base/1/1259"),
        "a file cut": (without(lambda member: False, 8192), "base/1/1259 has"),
        "no WAL": (without(lambda member: member.name.startswith("pg_wal/0")), "WAL segment"),
        "cut": (plain.read_bytes()[: plain.stat().st_size // 2], "base.tar.zst"),
        "no end": (plain.read_bytes().rstrip(b"\0") + b"\0" * 100, "base.tar.zst"),
        "nothing": (b"", "base.tar.zst"),
    }
    for kind, (data, words) in damages.items():
        forge(folder, "base.tar.zst", packed(data))
        assert bad(verify(repository), words)["level"] == "content", kind
        (folder / "manifest.json").write_bytes(manifest)
    base.write_bytes(whole)
    listed = folder / "backup_manifest.zst"
    text = unpacked(listed)
    forge(folder, "backup_manifest.zst", packed(text.replace(b'"Size": 8192', b'"Size": 8193', 1)))
    bad(verify(repository), "backup_manifest", "its own sum differs")


def test_every_file_by_pg_verifybackup(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("base", tmp_path)
    folder = repository / "main" / name
    done = verify(repository, level="engine")
    assert good(done) == [name] and "pg_verifybackup" in " ".join(done.result["proof"]["proven"])
    data = unpacked(folder / "base.tar.zst")
    with tarfile.open(fileobj=__import__("io").BytesIO(data)) as tar:
        place = tar.getmember("base/1/1259").offset_data + 5000
    forge(folder, "base.tar.zst", packed(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]))
    assert good(verify(repository, full=True)) == [name]  # only PostgreSQL's program knows these sums
    assert bad(verify(repository, level="engine"), "pg_verifybackup", "base/1/1259")["level"] == "engine"
    # A look that is less close does not take that away.
    assert "not looked at so closely since" in bad(verify(repository, level="content"), "pg_verifybackup")["text"]
    assert facts(repository)["last_success"] is None


def test_what_is_no_damage(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("sealed", tmp_path)
    not_known(
        verify(repository, encryption={**AES256, "passphrase": "another one"}),
        "is not the one of the backup",
        "level: checksum",
    )
    not_known(verify(repository), "encryption", "is missing")
    not_known(
        verify(repository, encryption=AES256, bin_dir="/nowhere"), "pg_restore of that version", "level: checksum"
    )
    plain, _name = kept.of("directory", tmp_path)
    not_known(verify(plain, bin_dir="/nowhere"), "pg_restore of that version")
    assert not (repository / "main/_verified.json").exists() and facts(repository)["last_success"]
    # But where the part that tells is damaged, it is.
    smallest = min(parts(repository / "main" / name), key=lambda path: path.stat().st_size)
    flip_byte(smallest)
    bad(verify(repository, encryption={**AES256, "passphrase": "another one"}), smallest.name, "sha256 differs")
    moved = tmp_path / "away"
    (repository / "main").rename(moved)
    assert not ok(verify(repository, encryption=AES256))["verified"]
    shutil.rmtree(repository)
    not_known(verify(repository, encryption=AES256), str(repository))
    assert not ok(verify(tmp_path))["verified"]


def test_a_manifest(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("sealed", tmp_path)
    manifest = repository / "main" / name / "manifest.json"
    whole = manifest.read_text()
    for text in (whole[:200], "", whole.replace('"artifacts"', '"artefacts"')):
        manifest.write_text(text)
        assert bad(verify(repository, encryption=AES256), "manifest")["id"] == name
    manifest.unlink()
    assert bad(verify(repository, encryption=AES256), "manifest")["id"] == name
    content = json.loads(whole)
    manifest.write_text(json.dumps({**content, "stopped_at": content["started_at"]}))
    assert "signed" in bad(verify(repository, encryption=AES256))["text"]
    manifest.write_text(json.dumps({**content, "signature": None}))
    assert "not signed" in bad(verify(repository, encryption=AES256))["text"]
    manifest.write_text(whole)
    assert good(verify(repository, encryption=AES256)) == [name]


def test_what_follows_of_a_failure(kept: Kept, tmp_path: Path) -> None:
    repository, name = kept.of("custom", tmp_path)
    shutil.copytree(repository / "main" / name, repository / "main" / f"{name}-2")
    other = repository / "main" / f"{name}-2"
    content = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(
        json.dumps(
            {
                **content,
                "id": other.name,
                "stopped_at": "2026-11-26T00:00:00.000Z",
                "started_at": "2026-11-26T00:00:00.000Z",
            }
        )
    )
    assert good(verify(repository, backup_id=other.name)) == [other.name]
    flip_byte(parts(repository / "main" / name)[0])
    done = verify(repository)
    assert bad(done)["id"] == name and not done.result["verified"]
    pruned = ok(run_module("backup_prune", {"repository": {"path": str(repository)}, "retention": {"keep_last": 1}}))
    assert not pruned["pruned"], pruned
    status = ok(run_module("backup_status", {"repository": {"path": str(repository)}}))
    assert status["last_good"] == other.name and status["status"] == "critical"
    assert any("failed its verification" in alert["text"] and name in alert["text"] for alert in status["alerts"])
    target = tmp_path / "target"
    target.mkdir()
    copied = ok(run_module("backup_copy", {"source": {"path": str(repository)}, "target": {"path": str(target)}}))
    assert copied["copied"] == [other.name] and "was not copied" in str(copied["warnings"])


def test_a_budget_and_tiers_in_turn(kept: Kept, tmp_path: Path) -> None:
    names = {}
    for tier in ("disk", "nfs"):
        (tmp_path / tier).mkdir()
        path, name = kept.of("custom", tmp_path / tier)
        names[tier] = name
    given = {
        "repositories": [{"name": tier, "path": str(tmp_path / tier / "custom")} for tier in names],
        "budget_bytes": 1,
    }

    def run(check: bool = False, **more: Any) -> dict[str, Any]:
        return ok(run_module("backup_verify", {**given, **more}, check=check))

    assert [entry["tier"] for entry in run(check=True)["left"]] == ["nfs"]
    first, second, third = run(), run(), run()
    assert [entry["tier"] for entry in first["verified"]] == ["disk"] and [
        entry["tier"] for entry in first["left"]
    ] == ["nfs"]
    assert [entry["tier"] for entry in second["verified"]] == ["nfs"] and not second["left"]
    assert not third["changed"] and third["fresh"] == 2
    # One tier is away: the other one is verified all the same, and it is told.
    shutil.rmtree(tmp_path / "disk")
    done = run_module("backup_verify", {**given, "full": True})
    not_known(done, "could not be looked into")
    assert [entry["tier"] for entry in done.result["verified"]] == ["nfs"]


def test_in_an_object_store(kept: Kept, tmp_path: Path, s3: S3Server) -> None:
    repository, name = kept.of("sealed", tmp_path)
    bucket = s3.make_bucket("test-verify")
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "ca_file": str(s3.ca_file)}
    store = {"type": "s3", "bucket": bucket, "endpoint_url": s3.endpoint_url, **keys}
    ok(run_module("backup_copy", {"source": {"path": str(repository)}, "target": store}))
    done = verify(store, encryption=AES256)
    assert good(done) == [name]
    assert not ok(verify(store, encryption=AES256))["changed"]
    client = s3.client()
    key = next(item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"] if "databases/" in item["Key"])
    data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=data[:-1] + bytes([data[-1] ^ 1]))
    bad(verify(store, encryption=AES256, full=True), "sha256 differs")
    client.delete_object(Bucket=bucket, Key=key)
    bad(verify(store, encryption=AES256, full=True), "is missing")
    client.put_object(Bucket=bucket, Key=key, Body=data)
    assert ok(verify(store, encryption=AES256))["verified"][0]["cleared"]
    not_known(verify({**store, "endpoint_url": "http://127.0.0.1:9", "ca_file": None}, encryption=AES256))


def test_the_playbook(kept: Kept, tmp_path: Path) -> None:
    repository, _name = kept.of("custom", tmp_path)
    given = {"holdfast_repository": {"path": str(repository)}, "holdfast_server_name": "main"}
    playbook = CHECKOUT / "playbooks/verify.yml"
    planned, done = (run_playbook(playbook, given, *more) for more in (["--check"], []))
    for run, words in ((planned, "It would: verify"), (done, "1 backup good by content")):
        assert run.returncode == 0 and run.changed and words in run.stdout, run.stdout
