# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the name of a server's image tells (pure). A name is no proof: what it does not tell is None."""

from __future__ import annotations

import re
from typing import Optional

# Their images are Debian's where the tag does not say alpine.
_DEBIAN = re.compile(
    r"^(docker\.io/)?(library/)?(postgres|bitnami(legacy)?/postgresql)(:|@|$)|(^|/)(spilo|cloudnative-pg/postgresql)[\w.-]*[:@]"
)
# The official image, and those that are made from it.
_OFFICIAL = re.compile(
    r"^(docker\.io/)?(library/)?postgres(:|@|$)|(^|/)(postgis/postgis|pgvector/pgvector|timescale/timescaledb|supabase/postgres)[:@]"
)
_GLIBC = re.compile(
    r"bookworm|bullseye|trixie|buster|debian|ubi\d?|ubuntu|jammy|noble|rocky|alma|centos|redhat|photon", re.I
)
_MUSL = re.compile(r"alpine|musl", re.I)


def major(image: str) -> Optional[int]:
    """PostgreSQL's major version by an image's name: ``postgres:16.4-alpine``, ``spilo-17:4.0-p2``, ``timescaledb:2.17.2-pg16``."""
    name, _at, _digest = image.partition("@")
    repository, _colon, tag = name.rpartition("/")[2].partition(":")
    if found := re.search(r"(?:spilo|postgresql|postgres)-(\d{2})$", repository):
        return int(found[1])
    if found := re.search(r"(?:^|[-.])pg(\d{2})", tag):
        return int(found[1])
    if "timescaledb" in repository or "spilo" in repository:
        return None
    found = re.match(r"v?(\d{1,2})(?=$|[.-])", tag)
    return int(found[1]) if found and 9 <= int(found[1]) <= 30 else None


def libc(image: str) -> Optional[str]:
    """``musl`` or ``glibc`` by the name of an image; None: it cannot be told."""
    tag = image.rpartition("/")[2]
    if _MUSL.search(tag):
        return "musl"
    return "glibc" if _GLIBC.search(tag) or _DEBIAN.search(image) else None


def declared_volume(image: str) -> tuple[str, bool]:
    """Where the image itself declares a volume for its data, and whether that is certain. A runtime puts an empty one there with each
    container, unless a volume of the pod is mounted at exactly that path: one that is mounted above it is hidden.

    Sources: the Dockerfiles of docker-library/postgres and bitnami/containers; containerd's internal/cri/server, volumeMounts.
    """
    if re.search(r"(^|/)bitnami(legacy)?/postgresql(-repmgr)?([:@]|$)", image):
        return "/bitnami/postgresql", True
    version = major(image)
    certain = bool(_OFFICIAL.search(image)) and version is not None
    return (
        "/var/lib/postgresql" if certain and version is not None and version >= 18 else "/var/lib/postgresql/data",
        certain,
    )
