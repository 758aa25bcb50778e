# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as archives in OCI's layout, for `ctr images import`: made here from layers, without an engine of containers."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_OCI = "application/vnd.oci.image"
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Image:
    """A reference, its layers from the lowest up (files in tar's form), and how it runs."""

    reference: str
    layers: tuple[Path, ...]
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    directory: str = "/"


def digest(path: Path) -> str:
    """sha256:… of a file; kept beside it, as layers are large and do not change."""
    kept = path.with_name(path.name + ".sha256")
    if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
        with path.open("rb") as file:
            kept.write_text(hashlib.file_digest(file, "sha256").hexdigest())
    return "sha256:" + kept.read_text()


def manifest_digest(image: Image) -> str:
    """What a store that has this very image says of it."""
    return str(_described("", _manifest(image))["digest"])


def write(archive: Path, images: Sequence[Image], there: Collection[str] = ()) -> None:
    """Write an archive. `there`: digests of the layers that the store has, which need not be sent again."""
    sent: set[str] = set(there)
    index = []
    with tarfile.open(archive, "w") as out:

        def put(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))

        put("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        for image in images:
            for path in image.layers:
                name = digest(path)
                if name not in sent:
                    out.add(path, arcname=_blob(name))
                    sent.add(name)
            manifest = _manifest(image)
            for value in (_config(image), manifest):
                put(_blob(_described("", value)["digest"]), _bytes(value))
            index.append({**_described(f"{_OCI}.manifest.v1+json", manifest), "annotations": {_NAME: image.reference}})
        put("index.json", _bytes({"schemaVersion": 2, "manifests": index}))


def _blob(name: str) -> str:
    return f"blobs/sha256/{name.partition(':')[2]}"


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _described(kind: str, value: Any) -> dict[str, Any]:
    data = _bytes(value)
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _manifest(image: Image) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _described(f"{_OCI}.config.v1+json", _config(image)),
        "layers": [
            {"mediaType": f"{_OCI}.layer.v1.tar", "digest": digest(path), "size": path.stat().st_size}
            for path in image.layers
        ],
    }


def _config(image: Image) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": [f"{name}={value}" for name, value in image.environment.items()],
            "Entrypoint": list(image.entrypoint) or None,
            "Cmd": list(image.command) or None,
            "WorkingDir": image.directory,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(path) for path in image.layers]},
        "history": [{"created_by": "tests/lab/kubernetes"} for _layer in image.layers],
    }
