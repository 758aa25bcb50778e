#!/bin/sh
# Install the collection kubernetes.core for the tests into .work/collections: from Galaxy, and where that is out of reach out of PyPI's
# package `ansible`, which contains it, and of which nothing else is taken. Where that fails nothing else does: what needs it skips.
set -eu
cd "$(dirname "$0")/../.."
collections=.work/collections
[ -f "$collections/ansible_collections/kubernetes/core/MANIFEST.json" ] && exit 0

echo "Installing kubernetes.core into $collections …"
if timeout 60 .venv/bin/ansible-galaxy collection install --no-deps --collections-path "$collections" 'kubernetes.core:>=5.3.0,<8.0.0' \
    >/dev/null 2>&1; then
    exit 0
fi
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
if ! .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$download" 'ansible>=12,<13'; then
    echo "skipped: kubernetes.core could not be installed here."
    exit 0
fi
.venv/bin/python - "$download" "$collections" <<'END'
import pathlib
import sys
import zipfile

download, collections = map(pathlib.Path, sys.argv[1:])
(wheel,) = download.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith("ansible_collections/kubernetes/core/"):
            archive.extract(name, collections)
END
