# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One large artifact up and down, beside boto3 at its best."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from boto3.s3.transfer import TransferConfig

from bench.common import MIB, Bench, Row, Size, Times, table
from bench.place import BUCKET, Place

# MiB of a part, and parts at once; boto3's own default is the first.
SETTINGS = ((8, 10), (16, 4), (16, 8), (32, 4), (64, 4), (64, 8))


class Nowhere:
    """A file for boto3 to write into at once, in any order."""

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def tell(self) -> int:
        return 0

    def seekable(self) -> bool:
        return True


def measure(bench: Bench, place: Place, size: Size) -> str:
    """A table."""
    path = bench.directory / "artifact"
    block = os.urandom(16 * MIB)
    with path.open("wb") as stream:
        for _part in range(size.artifact // 16):
            stream.write(block)
    client, repository, times = place.client(32), place.repository("artifact"), Times()

    def sdk(setting: tuple[int, int]) -> tuple[Callable[[], Any], Callable[[], Any]]:
        part, threads = setting
        config = TransferConfig(multipart_threshold=part * MIB, multipart_chunksize=part * MIB, max_concurrency=threads)
        return (
            lambda: client.upload_file(str(path), BUCKET, "sdk", Config=config),
            lambda: client.download_fileobj(BUCKET, "sdk", Nowhere(), Config=config),
        )

    def up() -> None:
        sink = repository.sink("ours")
        with path.open("rb") as stream:
            while data := stream.read(MIB):
                sink.write(data)
        sink.commit()

    def down() -> None:
        for _block in repository.blocks("ours"):
            pass

    trials = Times()
    for setting in SETTINGS:
        send, fetch = sdk(setting)
        trials.take(f"up {setting}", send)
        trials.take(f"down {setting}", fetch)
    best_up = min(SETTINGS, key=lambda setting: trials[f"up {setting}"])
    best_down = min(SETTINGS, key=lambda setting: trials[f"down {setting}"])
    for _round in range(size.rounds):
        times.take("sdk up", sdk(best_up)[0])
        times.take("up", up)
        times.take("sdk down", sdk(best_down)[1])
        times.take("down", down)
    path.unlink()
    for key in ("sdk", "artifact/ours"):
        client.delete_object(Bucket=BUCKET, Key=key)
    found = table(
        Row(f"boto3 `upload_file`, {words(best_up)}", times["sdk up"]),
        Row("upload into our repository, to that", times["up"], times["sdk up"], 1.3),
        Row(f"boto3 `download_fileobj`, {words(best_down)}", times["sdk down"]),
        Row("download from our repository, to that", times["down"], times["sdk down"], 1.3),
    )
    slower = trials[f"up {SETTINGS[0]}"] / trials[f"up {best_up}"]
    tried = "; ".join(f"{part} MiB × {threads}" for part, threads in SETTINGS)
    return (
        f"An artifact of {size.artifact} MiB. Best of boto3's settings {tried}; its default took {slower:.2f} times the best "
        f"one's time for the upload.\n\n{found}"
    )


def words(setting: tuple[int, int]) -> str:
    """A setting, for a reader."""
    return f"parts of {setting[0]} MiB, {setting[1]} at once"
