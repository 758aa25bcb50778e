# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""To whom a backup is encrypted, and that nobody takes the encryption away.

Recipients, the kind: gpg was left to find a key by itself. Members: a name that is in no keyring (looked for in the network, a dirmngr
stays), one that fits two keys, one that somebody wrote into a key of their own (trust was "always"), keys that expired, are revoked, sign
only, or whose subkey is bad; files with none or several keys. Now each is one key, by its fingerprint, which is in the record.

Downgrade, the kind: what lies in the repository says whether it is encrypted. Members: the manifest says "none"; it says aes256, and an
artifact without .gpg takes the place of another; with a passphrase given, both are refused.

Fresh that is of no use, the kind: a passphrase was rotated, and what only the former one opens counted as fresh (``max_age``), as done
(``backup_id``), and as what an incremental one can be made upon (each of those failed, night after night). A manifest says nothing of a
passphrase: the smallest artifact is decrypted.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server
from lab.waiting import pids


class Ring:
    """A keyring in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *words: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [
                "gpg",
                "--homedir",
                str(self.home),
                "--batch",
                "--yes",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                *words,
            ],
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def make(self, name: str, expires: str = "0", usage: str = "encrypt,sign") -> str:
        self.gpg("--quick-generate-key", name, "rsa2048" if "encrypt" in usage else "ed25519", usage, expires)
        return self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        listed = self.gpg("--with-colons", "--list-keys", name)
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


@pytest.fixture(scope="module")
def rings() -> Iterator[Callable[[], Ring]]:
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as base:
        made: list[Ring] = []

        def new() -> Ring:
            home = Path(base) / str(len(made))
            home.mkdir(mode=0o700)
            made.append(Ring(home))
            return made[-1]

        yield new
        for ring in made:
            subprocess.run(["gpgconf", "--homedir", str(ring.home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def owner(rings: Callable[[], Ring]) -> Ring:
    """Who can decrypt: has the secret keys."""
    ring = rings()
    ring.make("Ops <ops@example.com>")
    ring.make("Old <old@example.com>", expires="seconds=1")
    ring.make("Signer <signer@example.com>", usage="sign")
    return ring


@pytest.fixture(scope="module")
def public(owner: Ring, rings: Callable[[], Ring]) -> Ring:
    """The backup host: has public keys alone, certified by nobody."""
    ring = rings()
    ring.gpg("--import", stdin=owner.gpg("--export", "--armor").encode())
    return ring


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    made = server_factory(16)
    made.psql("CREATE DATABASE shop;")
    made.psql("CREATE TABLE items AS SELECT generate_series(1, 20) AS id;", "shop")
    return made


def arguments(server: Server, repository: Path, encryption: dict[str, Any]) -> dict[str, Any]:
    login = {**server.client_options(), "repository": {"path": str(repository)}}
    return {**login, "databases": ["shop"], "encryption": encryption}


def back_up(server: Server, repository: Path, encryption: dict[str, Any], check: bool = False) -> ModuleResult:
    return run_module("pg_backup", {**arguments(server, repository, encryption), "compression": "none"}, check=check)


def restore(
    server: Server, repository: Path, encryption: dict[str, Any] | None = None, check: bool = False, **more: Any
) -> ModuleResult:
    server.psql("DROP DATABASE IF EXISTS back;")
    options = arguments(server, repository, encryption or {})
    if not encryption:
        del options["encryption"]
    return run_module("pg_restore", {**options, "target_db": "back", **more}, check=check)


def pgp(ring: Ring, *recipients: str) -> dict[str, Any]:
    return {"method": "pgp", "gpg_home": str(ring.home), "recipients": list(recipients)}


def test_the_fingerprint_is_in_the_record(server: Server, tmp_path: Path, owner: Ring, public: Ring) -> None:
    mine = owner.fingerprint("ops@example.com")
    done = back_up(server, tmp_path, pgp(public, mine))
    assert not done.failed, done.msg
    assert done.result["backup"]["encryption"] == {"method": "pgp", "recipients": [mine], "fingerprints": [mine]}
    assert not restore(server, tmp_path, {"gpg_home": str(owner.home)}).failed
    # In a keyring whose owner trusts the key, its name will do.
    done = back_up(server, tmp_path, pgp(owner, "ops@example.com"))
    assert done.result["backup"]["encryption"]["fingerprints"] == [mine]


def test_keys_of_files(server: Server, tmp_path: Path, owner: Ring) -> None:
    mine = owner.fingerprint("ops@example.com")
    one, both = tmp_path / "one.asc", tmp_path / "both.asc"
    one.write_text(owner.gpg("--export", "--armor", mine))
    both.write_text(owner.gpg("--export", "--armor", mine, owner.fingerprint("old@example.com")))
    repository = tmp_path / "repository"
    repository.mkdir()
    done = back_up(server, repository, {"method": "pgp", "recipients": [str(one)]})
    assert not done.failed, done.msg
    assert done.result["backup"]["encryption"]["fingerprints"] == [mine]
    for path, words in (
        (both, "fits 2 keys"),
        (tmp_path / "none.asc", "cannot be read"),
        (Path(__file__), "cannot be read"),
    ):
        done = back_up(server, repository, {"method": "pgp", "recipients": [str(path)]})
        assert done.failed and words in done.msg, done.msg


@pytest.mark.parametrize("check", [True, False])
def test_recipients_that_are_refused(
    server: Server, tmp_path: Path, owner: Ring, public: Ring, rings: Callable[[], Ring], check: bool
) -> None:
    twins = rings()
    for name in ("ops one <one@example.com>", "ops two <two@example.com>"):
        twins.make(name)
    owner.gpg("--quick-set-expire", owner.fingerprint("ops@example.com"), "0")
    for ring, recipient, words in (
        (public, "nobody@example.com", ("no key in the keyring", "network")),
        (public, "ops@example.com", ("found by name", "fingerprint", owner.fingerprint("ops@example.com"))),
        (twins, "ops", ("fits 2 keys", twins.fingerprint("ops one"), twins.fingerprint("ops two"))),
        (owner, "old@example.com", ("expired on",)),
        (owner, "signer@example.com", ("no key for encryption",)),
        (public, "--keyserver=hkp:127.0.0.1:9", ("no key in the keyring",)),
    ):
        done = back_up(server, tmp_path, pgp(ring, recipient), check=check)
        assert done.failed, recipient
        for word in words:
            assert word in done.msg, done.msg
    assert not list(tmp_path.rglob("*.gpg"))
    assert not pids("dirmngr", str(public.home))


# Downgrades

SECRET = {"method": "aes256", "passphrase": "sesame"}


def test_a_plain_backup_where_an_encrypted_one_is_expected(server: Server, tmp_path: Path) -> None:
    assert not back_up(server, tmp_path, {"method": "none"}).failed
    for encryption in (SECRET, {"passphrase": "sesame"}):
        done = restore(server, tmp_path, encryption)
        assert done.failed and "not encrypted" in done.msg, done.msg
    assert not restore(server, tmp_path).failed


@pytest.mark.parametrize("claim", ["none", "aes256"])
def test_who_has_no_key_puts_another_dump_there(server: Server, tmp_path: Path, claim: str) -> None:
    record = back_up(server, tmp_path, SECRET).result["backup"]
    folder = tmp_path / "main" / record["id"]
    plain = server.run("pg_dump", "-Fc", db="postgres")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["encryption"]["method"], manifest["signature"] = claim, None
    for artifact in manifest["artifacts"]:
        if artifact["role"] == "database":
            artifact["key"] = artifact["key"].replace(".gpg", "")
            artifact["size"], artifact["sha256"] = len(plain), hashlib.sha256(plain).hexdigest()
            (folder / artifact["key"]).write_bytes(plain)
            manifest["databases"][0]["artifact"] = artifact["key"]
    manifest["size"] = sum(artifact["size"] for artifact in manifest["artifacts"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = restore(server, tmp_path, SECRET)
    assert done.failed and "not encrypted" in done.msg, done.msg
    assert "back" not in server.databases()


def test_what_only_a_former_passphrase_opens_is_not_fresh(server: Server, tmp_path: Path) -> None:
    former, present = {**SECRET, "passphrase": "of yesterday"}, {**SECRET, "passphrase": "of today"}

    def again(encryption: dict[str, Any], check: bool = False, **wish: str) -> ModuleResult:
        given = {**arguments(server, tmp_path, encryption), "compression": "none", **(wish or {"max_age": "1h"})}
        return run_module("pg_backup", given, check=check)

    assert again(former).changed and not again(former).changed
    planned = again(present, check=True)
    made = again(present)
    for done in (planned, made):
        assert done.changed and "cannot be decrypted by the passphrase that is given" in str(done.result["warnings"])
    assert not ok(again(present))["changed"]
    # The newest one counts, and an older one that opens is as fresh.
    assert not ok(again(former))["changed"]
    refused = again(former, backup_id=made.result["backup"]["id"])
    assert refused.failed and "No backup was made" in refused.msg, refused.msg


def test_an_artifact_of_another_backup_in_the_place_of_its_own(server: Server, tmp_path: Path) -> None:
    """Kind: who may write into the repository, and has no passphrase, decides what is restored (3.2). Found: yesterday's rows as today's, ok."""
    server.psql("ALTER TABLE items ADD words text; UPDATE items SET words = 'of yesterday';", "shop")
    older = back_up(server, tmp_path, SECRET).result["backup"]
    server.psql("UPDATE items SET words = 'of today';", "shop")
    newer = back_up(server, tmp_path, SECRET).result["backup"]
    folder, manifest = tmp_path / "main" / newer["id"], tmp_path / "main" / newer["id"] / "manifest.json"
    true = manifest.read_text()
    key = newer["databases"][0]["artifact"]
    kept = (folder / key).read_bytes()
    (folder / key).write_bytes((tmp_path / "main" / older["id"] / key).read_bytes())
    forged = json.loads(true)
    (theirs,) = (item for item in older["artifacts"] if item["key"] == key)
    forged["artifacts"] = [theirs if item["key"] == key else item for item in forged["artifacts"]]
    forged["size"] = sum(item["size"] for item in forged["artifacts"])
    manifest.write_text(json.dumps(forged))
    done = restore(server, tmp_path, SECRET)
    assert done.failed and "is not what was signed" in done.msg, done.msg
    claimed = {"method": "pgp", "recipients": ["A"], "fingerprints": ["A"]}
    manifest.write_text(json.dumps({**forged, "signature": None, "encryption": claimed}))
    done = restore(server, tmp_path, SECRET)
    assert done.failed and "for public keys" in done.msg, done.msg
    # Without a signature it is refused too, and check mode says what would have to be agreed to.
    manifest.write_text(json.dumps({**forged, "signature": None}))
    planned, done = restore(server, tmp_path, SECRET, check=True), restore(server, tmp_path, SECRET)
    assert done.failed and "is not signed" in done.msg and "back" not in server.databases(), done.msg
    assert planned.result["consent"] == {"accept_unsigned": True} and "accept_unsigned" in planned.result["plan"][-1]
    done = restore(server, tmp_path, SECRET, accept_unsigned=True)
    assert not done.failed and "is not signed" in str(done.result["warnings"]), done.msg
    # What is true, pinned and copied, is as it was.
    (folder / key).write_bytes(kept)
    manifest.write_text(true)
    given = {**arguments(server, tmp_path, SECRET), "compression": "none", "backup_id": newer["id"], "pinned": True}
    assert run_module("pg_backup", given).changed
    copy = tmp_path / "copy"
    copy.mkdir()
    copied = run_module(
        "backup_copy", {"source": {"path": str(tmp_path)}, "target": {"path": str(copy)}, "backup_ids": [newer["id"]]}
    )
    for place in (tmp_path, copy):
        done = restore(server, place, SECRET)
        assert not done.failed and "signed" not in str(done.result.get("warnings")), (copied.msg, done.msg)
        assert server.query("SELECT DISTINCT words FROM items", "back") == [("of today",)]
    server.psql("ALTER TABLE items DROP words;", "shop")


NEW = {"method": "aes256", "passphrase": "open barley"}


@pytest.mark.extended
def test_copies_under_another_name_and_another_passphrase(server: Server, tmp_path: Path) -> None:
    """Kind: a copy that is verified and cannot be restored. A signature covers the server's name, and a copy under another name was refused by every
    restore; what a rotated passphrase encrypted could not be had under the present one. Brothers: the wrong passphrase, none, a plain backup, a
    manifest that somebody changed, the same copy again, one that is there under the former passphrase."""
    made = back_up(server, tmp_path, SECRET).result["backup"]
    rows = server.query("SELECT count(*), sum(hashtext(items::text)) FROM items", "shop")
    (tmp_path / "copy").mkdir()

    def copy(check: bool = False, **more: Any) -> ModuleResult:
        given = {"source": {"path": str(tmp_path)}, "target": {"path": str(tmp_path / "copy")}, **more}
        return run_module("backup_copy", given, check=check)

    def comes_back(name: str, encryption: dict[str, Any]) -> bool:
        done = restore(server, tmp_path / "copy", encryption, server_name=name)
        return not done.failed and rows == server.query(
            "SELECT count(*), sum(hashtext(items::text)) FROM items", "back"
        )

    refused = copy(target_server_name="other")
    assert refused.failed and "Give encryption" in refused.msg and not list((tmp_path / "copy").iterdir()), refused.msg
    wrong = copy(target_server_name="other", encryption=NEW)
    assert wrong.failed and "cannot be decrypted" in wrong.msg, wrong.msg
    named = {"target_server_name": "other", "encryption": SECRET}
    assert copy(check=True, **named).result["plan"] == copy(**named).result["plan"] and not copy(**named).changed
    assert comes_back("other", SECRET) and not comes_back("other", NEW)

    anew = {"target_server_name": "rotated", "encryption": SECRET, "target_encryption": NEW}
    planned, done = copy(check=True, **anew), copy(**anew)
    assert planned.result["plan"] == done.result["plan"] and "other passphrase" in str(done.result["plan"]), done.msg
    assert not ok(copy(**anew))["changed"]
    assert comes_back("rotated", NEW) and not comes_back("rotated", SECRET)
    there = copy(**{**anew, "target_server_name": "other"})
    assert there.failed and "former passphrase" in there.msg, there.msg
    assert "encryption" in copy(target_server_name="x", target_encryption=NEW).msg

    manifest = tmp_path / "main" / made["id"] / "manifest.json"
    true = manifest.read_text()
    forged = json.loads(true)
    forged["stop_lsn"] = "0/1"
    manifest.write_text(json.dumps(forged))
    assert "is not what was signed" in copy(**{**anew, "target_server_name": "forged"}).msg
    manifest.write_text(json.dumps({**forged, "signature": None}))
    assert "is not signed" in copy(**{**anew, "target_server_name": "forged"}).msg
    manifest.write_text(true)

    plain = back_up(server, tmp_path, {"method": "none"}).result["backup"]["id"]
    mixed = copy(**{**anew, "target_server_name": "mixed"})
    assert mixed.failed and plain in mixed.msg and "backup_ids" in mixed.msg, mixed.msg
    assert copy(**{**anew, "target_server_name": "mixed", "backup_ids": [made["id"]]}).changed
