#!/bin/sh
# Install the collections kubernetes.core (what this one depends on) and awx.awx (whose argument specifications extensions/awx is held against)
# for the tests into .work/collections: from Galaxy, and where that is out of reach out of PyPI's package `ansible`, which contains them, and of
# which nothing else is taken. Where that fails nothing else does: what needs them skips.
set -eu
cd "$(dirname "$0")/../.."
collections=.work/collections
missing=""
for name in kubernetes/core awx/awx; do
    [ -f "$collections/ansible_collections/$name/MANIFEST.json" ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

echo "Installing$missing into $collections …"
if ANSIBLE_COLLECTIONS_PATH="$collections" timeout 60 .venv/bin/ansible-galaxy collection install --no-deps --collections-path "$collections" \
    'kubernetes.core:>=5.3.0,<8.0.0' 'awx.awx:>=24.6,<25' >/dev/null 2>&1; then
    exit 0
fi
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
if ! .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$download" 'ansible>=12,<13'; then
    echo "skipped:$missing could not be installed here."
    exit 0
fi
# shellcheck disable=SC2086 # several names
.venv/bin/python - "$download" "$collections" $missing <<'END'
import pathlib
import sys
import zipfile

download, collections = map(pathlib.Path, sys.argv[1:3])
wanted = tuple(f"ansible_collections/{name}/" for name in sys.argv[3:])
(wheel,) = download.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith(wanted):
            archive.extract(name, collections)
END
