# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that the lab's pods run, and the loading of them into containerd."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from . import oci
from .parts import POSTGRES_LAYER, PYTHON_LAYER, TOOLS_LAYER
from .settings import CHECKOUT, POSTGRESQL

PATH = "/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin"
POSTGRES = f"localhost/postgres:{POSTGRESQL}"
HOLDFAST = "localhost/holdfast"
#: What of a checkout is in the image: as in the archive for Galaxy.
CONTENTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")


def base() -> list[oci.Image]:
    """pause, and PostgreSQL 15 as Debian packages it, with bash, python3 and curl; its user is 26."""
    layers = (POSTGRES_LAYER.path / "layer.tar",)
    environment = {"PATH": PATH, "PGDATA": "/var/lib/postgresql/data/pgdata"}
    return [
        oci.Image("localhost/pause:1", layers, environment={"PATH": PATH}, entrypoint=("/usr/bin/sleep", "infinity")),
        oci.Image(POSTGRES, layers, user="26", environment=environment, command=("bash",)),
    ]


def holdfast(directory: Path) -> list[oci.Image]:
    """The collection's own, under two names: dev, and a hash of this checkout's contents. `directory`: where its last layer is written."""
    top = collection_layer(directory)
    layers = tuple(part.path / "layer.tar" for part in (POSTGRES_LAYER, TOOLS_LAYER, PYTHON_LAYER))
    environment = {
        "PATH": PATH,
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible",
        "ANSIBLE_REMOTE_TEMP": "/tmp/ansible",
    }
    return [
        oci.Image(reference, (*layers, top), user="10001", environment=environment, directory="/tmp")
        for reference in (f"{HOLDFAST}:dev", reference_of(top))
    ]


def reference_of(layer: Path) -> str:
    """The name that only this content has: tests of two checkouts in one cluster run each its own."""
    return f"{HOLDFAST}:{oci.digest(layer)[7:19]}"


def collection_layer(directory: Path) -> Path:
    """This checkout's collection as a layer: what git has of it, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *CONTENTS],
        cwd=CHECKOUT, check=True, capture_output=True,
    )  # fmt: skip
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as out:
        for name in sorted(listed.stdout.decode().split("\0")):
            path = CHECKOUT / name
            if not name or not path.is_file():
                continue
            info = tarfile.TarInfo(f"usr/share/ansible/collections/ansible_collections/holdfast/postgres/{name}")
            content = path.read_bytes()
            info.size, info.mode = len(content), 0o644
            out.addfile(info, io.BytesIO(content))
    sha = hashlib.sha256(data.getvalue()).hexdigest()
    layer = directory / f"collection-{sha[:12]}.tar"
    if not layer.exists():
        layer.write_bytes(data.getvalue())
    return layer


class Containerd:
    """What a running containerd holds for Kubernetes, by its own client."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def call(self, *arguments: str, timeout: float = 300) -> str:
        done = subprocess.run(
            ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout

    def load(self, images: list[oci.Image]) -> None:
        """Import what is not there, and of that only the layers that are not there."""
        there = self._images()
        wanted = [image for image in images if there.get(image.reference) != oci.manifest_digest(image)]
        if not wanted:
            return
        content = set(self.call("content", "ls", "-q").split())
        with tempfile.TemporaryDirectory(prefix="image-", dir="/tmp") as directory:
            archive = Path(directory, "images.tar")
            oci.write(archive, wanted, there=content)
            try:
                self.call("images", "import", str(archive))
            except RuntimeError:  # what was there may have been collected as garbage meanwhile
                oci.write(archive, wanted)
                self.call("images", "import", str(archive))

    def clear(self) -> None:
        """What an earlier cluster left: its containers, the images of checkouts, and what Kubernetes notes of images that are no more."""
        names = self._images()
        # The last one that was made stays, as its lower layers are the next one's too.
        keeps = {name for name in names if not name.startswith("sha256:")}
        keeps -= {name for name in names if name.startswith(f"{HOLDFAST}:") and name != f"{HOLDFAST}:dev"}
        kept = {names[name] for name in keeps}
        gone = [
            name
            for name, digest in names.items()
            if name not in keeps and (name[:7] != "sha256:" or digest not in kept)
        ]
        if gone:
            self._try("images", "rm", *gone)
        self.remove_containers()

    def _images(self) -> dict[str, str]:
        """Digests of manifests by name."""
        lines = [line.split() for line in self.call("images", "ls").splitlines()[1:]]
        return {line[0]: line[2] for line in lines if len(line) > 2}

    def remove_containers(self) -> None:
        tasks = self.call("tasks", "ls", "-q").split()
        if tasks:
            for task in tasks:
                self._try("tasks", "kill", "--signal", "SIGKILL", "--all", task)
            self._try("tasks", "rm", "--force", *tasks)
        containers = self.call("containers", "ls", "-q").split()
        if containers:
            self._try("containers", "rm", *containers)

    def _try(self, *arguments: str) -> None:
        with suppress(RuntimeError, subprocess.TimeoutExpired):  # gone meanwhile
            self.call(*arguments, timeout=60)
