# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL from a directory into stores: never over other content, never another server's, nothing lost by a kill or a store that is away, and
nothing leaves the directory that a store lacks. What is in a store is read by its vendor's library, zstd and gpg, not by us."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lab import segments
from lab.answers import ok, refused, warned
from lab.playbooks import RunningModule, run_module, start_module
from lab.stores import AzureServer, GcsServer, S3Server
from lab.waiting import wait_until

Options = dict[str, Any]
NUMBERS = itertools.count(1)
SECRET = {"encryption": {"method": "aes256", "passphrase": "a pass phrase"}}


class Shipping:
    """A directory that is shipped into a bucket of its own."""

    def __init__(self, s3: S3Server, root: Path) -> None:
        self.s3, self.root = s3, root
        self.directory = root / "shop" / "_wal"
        self.directory.mkdir(parents=True)
        self.bucket = s3.make_bucket(f"ship-{next(NUMBERS)}")

    def store(self, **more: Any) -> Options:
        where: Options = {"type": "s3", "bucket": self.bucket, "prefix": "p", "endpoint_url": self.s3.endpoint_url}
        keys = {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key}
        tls = {"ca_file": str(self.s3.ca_file)} if self.s3.certificate else {}
        return {**where, **keys, **tls, "region": self.s3.region, **more}

    def given(self, **more: Any) -> Options:
        return {"server_name": "shop", "wal_directory": str(self.root), "repository": self.store(), "keep": 1, **more}

    def objects(self) -> dict[str, bytes]:
        """All there is of the archive, by name."""
        client = self.s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="p/shop/_wal/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key.rpartition("/")[2]: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def put(self, name: str, data: bytes) -> None:
        self.s3.client().put_object(Bucket=self.bucket, Key=f"p/shop/_wal/{name}", Body=data)

    def here(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if not path.name.startswith("."))


@pytest.fixture
def shipping(s3_plain: S3Server, tmp_path: Path) -> Shipping:
    return Shipping(s3_plain, tmp_path)


def unpacked(data: bytes, *commands: list[str]) -> bytes:
    for command in commands:
        data = subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout
    return data


def test_what_is_finished_goes_and_leaves(shipping: Shipping) -> None:
    names = segments.write(shipping.directory, range(3, 9))
    (shipping.directory / f"{segments.name(9)}.partial").write_bytes(b"x" * segments.MIB)
    (shipping.directory / "00000002.history").write_text("1\t0/500000\tno recovery target specified\n")
    subprocess.run(["gzip", "-q", str(shipping.directory / names[2])], check=True)
    planned = run_module("wal_ship", shipping.given(), check=True)
    assert planned.changed and not shipping.objects()
    done = run_module("wal_ship", shipping.given())
    assert ok(done)["plan"] == ok(planned)["plan"] and done.changed and ok(done)["shipped"] == 7
    found = shipping.objects()
    assert json.loads(found.pop(".server.json")) == {"system_id": str(segments.SYSTEM), "encryption": "none"}
    for number, name in zip(range(3, 9), names):
        packed = found.pop(f"{name}.zst", None)
        data = unpacked(packed, ["zstd", "-dq"]) if packed else unpacked(found.pop(f"{name}.gz"), ["gzip", "-d"])
        assert data == segments.content(number)
    assert list(found) == ["00000002.history.zst"]
    assert shipping.here() == [names[-1], f"{segments.name(9)}.partial", "00000002.history"]
    again = run_module("wal_ship", shipping.given())
    assert (
        not again.changed and not ok(again)["plan"] and not run_module("wal_ship", shipping.given(), check=True).changed
    )


def test_encrypted(shipping: Shipping, tmp_path: Path) -> None:
    """What lies in the store is gpg's, of a passphrase that is in no argument list; an archive is encrypted in one way alone."""
    segments.write(shipping.directory, range(3, 5))
    ok(run_module("wal_ship", shipping.given(**SECRET)))
    data = shipping.objects()[f"{segments.name(3)}.zst.gpg"]
    secret = tmp_path / "secret"
    secret.write_text("a pass phrase\n")
    gpg = [
        "gpg",
        "--batch",
        "-q",
        "--homedir",
        str(tmp_path),
        "--pinentry-mode",
        "loopback",
        "--passphrase-file",
        str(secret),
        "-d",
    ]
    tmp_path.chmod(0o700)
    assert unpacked(data, gpg, ["zstd", "-dq"]) == segments.content(3)
    refused(run_module("wal_ship", shipping.given()), "is not how the WAL in", "aes256")


def test_other_content_under_a_name(shipping: Shipping) -> None:
    """Never overwritten, whatever it is called there; the same content is fine, however it is packed. What comes before it arrives."""
    names = segments.write(shipping.directory, range(3, 8))
    shipping.put(names[0], segments.content(3))
    other = unpacked(segments.content(5, seed=1), ["zstd", "-q", "-c"])
    shipping.put(f"{names[2]}.zst", other)
    done = run_module("wal_ship", shipping.given(jobs=4))
    assert (
        done.failed
        and "one name with two contents" in done.msg
        and names[2] in done.msg
        and str(shipping.directory) in done.msg
    )
    found = shipping.objects()
    assert (
        sorted(found) == [".server.json", names[0], f"{names[1]}.zst", f"{names[2]}.zst"]
        and found[f"{names[2]}.zst"] == other
    )
    assert shipping.here() == names, "what follows is kept"


def test_another_servers(shipping: Shipping) -> None:
    """By the marker in the store, by the directory's, and by the segments themselves."""
    shipping.put(".server.json", b'{"system_id": "42"}')
    segments.write(shipping.directory, range(3, 6))
    for check in (True, False):
        refused(run_module("wal_ship", shipping.given(), check=check), "42", str(segments.SYSTEM))
    assert list(shipping.objects()) == [".server.json"]
    ok(run_module("wal_ship", shipping.given(accept_new_server=True)))
    segments.write(shipping.directory, range(6, 7), system=43)
    done = run_module("wal_ship", shipping.given())
    assert done.failed and "is of another server" in done.msg
    assert f"{segments.name(6)}.zst" not in shipping.objects() and segments.name(6) in shipping.here()


def test_what_is_not_whole(shipping: Shipping) -> None:
    """A plain cp that was cut off, a damaged archive, a segment under another's name: none goes, nor what follows it."""
    names = segments.write(shipping.directory, range(3, 6))
    for bad, word in (
        (segments.content(4)[:500000], "500000 bytes"),
        (segments.content(9), "says that it is"),
        (b"no", "does not begin"),
    ):
        (shipping.directory / names[1]).write_bytes(bad)
        done = run_module("wal_ship", shipping.given())
        assert done.failed and word in done.msg and names[1] in done.msg
        assert f"{names[1]}.zst" not in shipping.objects() and f"{names[2]}.zst" not in shipping.objects()
    (shipping.directory / names[1]).unlink()
    packed = unpacked(segments.content(4), ["zstd", "-q", "-c"])
    (shipping.directory / f"{names[1]}.zst").write_bytes(packed[:-20])
    done = run_module("wal_ship", shipping.given())
    assert done.failed and "not whole yet" in done.msg
    (shipping.directory / f"{names[1]}.zst").write_bytes(packed)
    assert ok(run_module("wal_ship", shipping.given()))["shipped"] == 2


def test_two_stores_one_away(shipping: Shipping, tmp_path: Path) -> None:
    """The other one has it all, nothing leaves; when it is back, it gets what it lacks, and the directory is empty but for what is kept."""
    names = segments.write(shipping.directory, range(3, 8))
    disk = tmp_path / "disk"
    disk.mkdir()
    near = {"name": "near", "type": "file", "path": str(disk)}
    far = {"name": "far", **shipping.store(bucket="not-there")}
    given = {"server_name": "shop", "wal_directory": str(shipping.root), "keep": 1, "repositories": [near, far]}
    done = run_module("wal_ship", given)
    assert done.failed and "1 of 2 stores" in done.msg and "not-there" in done.msg and done.changed
    assert shipping.here() == names and len(list((disk / "shop" / "_wal").glob("0*.zst"))) == 5
    state = json.loads((shipping.directory / ".shipped.json").read_text())["stores"]
    assert sorted(bool(entry["error"]) for entry in state.values()) == [False, True]
    ok(run_module("wal_ship", {**given, "repositories": [near, {"name": "far", **shipping.store()}]}))
    assert shipping.here() == names[-1:] and len(shipping.objects()) == 6


def test_a_directory_that_is_a_store_itself(shipping: Shipping) -> None:
    """Nothing leaves it: backups there need it. And what the far one's own retention has removed is not shipped again."""
    names = segments.write(shipping.directory, range(3, 8))
    near = {"name": "near", "type": "file", "path": str(shipping.root)}
    given = {"server_name": "shop", "repositories": [near, {"name": "far", **shipping.store()}]}
    ok(run_module("wal_ship", given))
    assert shipping.here() == names
    shipping.s3.client().delete_object(Bucket=shipping.bucket, Key=f"p/shop/_wal/{names[0]}.zst")
    assert not ok(run_module("wal_ship", given))["changed"]
    refused(run_module("wal_ship", {**given, "repositories": [near]}), "nothing to ship to")


def test_a_gap_is_told(shipping: Shipping) -> None:
    """A slot that was dropped and made anew: what came between is nowhere."""
    segments.write(shipping.directory, range(3, 5))
    ok(run_module("wal_ship", shipping.given()))
    segments.write(shipping.directory, range(7, 9))
    done = run_module("wal_ship", shipping.given())
    assert ok(done)["shipped"] == 2
    assert f"2 segments from {segments.name(5)} to {segments.name(6)}" in warned(
        done
    ) and "take a new base backup now" in warned(done)


def test_one_shipper_at_a_time(shipping: Shipping, running: list[RunningModule]) -> None:
    """A service follows; a run by hand is told so. It ends within seconds of a signal, and has shipped what came meanwhile."""
    segments.write(shipping.directory, range(3, 4))
    service = start_module("wal_ship", shipping.given(follow=True))
    running.append(service)
    wait_until(lambda: f"{segments.name(3)}.zst" in shipping.objects())
    refused(run_module("wal_ship", shipping.given()), "Another process ships")
    segments.write(shipping.directory, range(4, 7))
    wait_until(lambda: f"{segments.name(6)}.zst" in shipping.objects())
    wait_until(lambda: shipping.here() == [segments.name(6)])
    service.process.terminate()
    done = service.result(timeout=30)
    assert done.result["stopped_by"] == "SIGTERM" and "the next run goes on" in done.msg
    assert not ok(run_module("wal_ship", shipping.given()))["changed"]


@pytest.mark.extended
def test_killed_at_any_moment(shipping: Shipping, running: list[RunningModule]) -> None:
    """kill -9 again and again: what is in the store is whole and right, in order without a gap, and at the end all is there, once."""
    names = segments.write(shipping.directory, range(3, 43))
    for number in range(12):
        module = start_module("wal_ship", shipping.given(jobs=3, **SECRET))
        running.append(module)
        enough = len(shipping.objects()) + number % 4
        with suppress(AssertionError):
            wait_until(lambda enough=enough: len(shipping.objects()) > enough, timeout=2, every=0.01)
        module.kill()
        there = sorted(name[:24] for name in shipping.objects() if name.startswith("0"))
        assert there == names[: len(there)], "in order, each once"
        assert set(names) - set(there) <= {name[:24] for name in shipping.here()}
    ok(run_module("wal_ship", shipping.given(**SECRET)))
    assert sorted(name[:24] for name in shipping.objects() if name.startswith("0")) == names
    assert shipping.here() == names[-1:]


def test_a_run_that_was_killed_knows_its_own(shipping: Shipping) -> None:
    """The object is there, and nobody wrote down that it is: with public keys alone nobody here could decrypt it to compare. What was going to
    be written is noted before."""
    segments.write(shipping.directory, range(3, 5))
    ok(run_module("wal_ship", shipping.given(keep=5, **SECRET)))
    state = json.loads((shipping.directory / ".shipped.json").read_text())
    (entry,) = state["stores"].values()
    stored = shipping.objects()[f"{segments.name(4)}.zst.gpg"]
    del entry["has"][segments.name(4)]
    (shipping.directory / ".shipped.json").write_text(json.dumps(state))
    (where,) = state["stores"]
    begun = {where: {segments.name(4): hashlib.sha256(stored).hexdigest()}}
    (shipping.directory / ".shipping.json").write_text(json.dumps(begun))
    assert ok(run_module("wal_ship", shipping.given(keep=5, **SECRET)))["shipped"] == 1
    assert shipping.objects()[f"{segments.name(4)}.zst.gpg"] == stored


def test_other_stores(azure_plain: AzureServer, gcs: GcsServer, tmp_path: Path) -> None:
    """One each: what is there already is not overwritten, and what was shipped is."""
    wal = tmp_path / "shop" / "_wal"
    wal.mkdir(parents=True)
    names = segments.write(wal, range(3, 6))
    account = {
        "account": azure_plain.account,
        "account_key": azure_plain.account_key,
        "endpoint_url": azure_plain.endpoint_url,
    }
    stores = [
        {"type": "azure", "container": azure_plain.make_container("wal"), **account},
        {"type": "gcs", "bucket": gcs.make_bucket("wal"), "endpoint_url": gcs.endpoint_url},
    ]
    given = {"server_name": "shop", "wal_directory": str(tmp_path), "keep": 1, "repositories": stores}
    assert ok(run_module("wal_ship", given))["shipped"] == 3
    assert sorted(path.name for path in wal.glob("0*")) == names[-1:]
    segments.write(wal, range(4, 5), seed=1)
    done = run_module("wal_ship", given)
    assert done.failed and "2 of 2 stores" in done.msg and done.msg.count("one name with two contents") == 2
