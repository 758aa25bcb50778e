# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudNativePG's operator in a cluster that runs, out of the manifest of its release, and a Cluster of it as tests ask for one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import oci
from .images import POSTGRES
from .parts import CLOUDNATIVE_PG
from .settings import VERSIONS

if TYPE_CHECKING:
    from .images import Containerd
    from .running import Starter

IMAGE = f"localhost/cnpg:{VERSIONS['CNPG_VERSION']}"
API = "postgresql.cnpg.io/v1"
_NAMESPACE, _DEPLOYMENT = "cnpg-system", "cnpg-controller-manager"


def start(starter: Starter, containerd: Containerd) -> None:
    """Image, definitions, operator; until it answers. What is there already stays as it is. Raises DidNotStart."""
    containerd.load([image()])
    starter.apply(manifest((CLOUDNATIVE_PG.path / "manifest.yaml").read_text()))
    wanted = ("wait", "--for=condition=Available", f"deployment/{_DEPLOYMENT}", "-n", _NAMESPACE, "--timeout=1s")
    starter.wait("CloudNativePG's operator", 120, lambda: starter.kubectl(*wanted))
    # Its webhook is asked about each Cluster, by a Service whose address takes a moment more.
    trial = json.dumps(cluster("trial"))
    starter.wait("its webhook", 60, lambda: starter.kubectl("create", "--dry-run=server", "-f", "-", text=trial))


def image() -> oci.Image:
    """The operator's own: one static program."""
    return oci.Image(IMAGE, (CLOUDNATIVE_PG.path / "layer.tar",), user="10001", entrypoint=("/manager",))


def manifest(text: str) -> str:
    """The release's, with our image, and small enough for two cores (pure)."""
    import yaml

    documents = text.split("\n---\n")
    for number, document in enumerate(documents):
        if "\nkind: Deployment\n" not in document:
            continue
        whole = yaml.safe_load(document)
        spec = whole["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        container.update(image=IMAGE, imagePullPolicy="IfNotPresent", resources={})
        # One of them, which need not wait for the lease of one that was killed.
        container["args"] = [argument for argument in container["args"] if argument != "--leader-elect"]
        for variable in container["env"]:
            if variable["name"] == "OPERATOR_IMAGE_NAME":
                variable["value"] = IMAGE
        documents[number] = json.dumps(whole)
    return "\n---\n".join(documents)


def cluster(name: str, instances: int = 1, **spec: Any) -> dict[str, Any]:
    """A Cluster of the lab's own image of PostgreSQL."""
    wanted = {
        "instances": instances,
        "imageName": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "storage": {"size": "1Gi"},
        "postgresql": {"parameters": {"jit": "off"}},
        # A stop need not wait for sessions: whole seconds of each test.
        "stopDelay": 10,
        "smartShutdownTimeout": 1,
        **spec,
    }
    return {"apiVersion": API, "kind": "Cluster", "metadata": {"name": name}, "spec": wanted}
