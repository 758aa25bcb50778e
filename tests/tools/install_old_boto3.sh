#!/bin/sh
# Install the boto3 that distributions have, each version into an environment of its own inside this checkout: 1.26.27 is Debian 12's,
# 1.34.46 is Ubuntu 24.04's, and 1.20.34 (Ubuntu 22.04's) is one that is too old. Without PyPI nothing fails: those tests skip, and say so.
set -eu
cd "$(dirname "$0")/../.."
python=$(tests/tools/find_python.sh)
for version in 1.20.34 1.26.27 1.34.46; do
    place=.work/venv-boto3-$version
    [ -f "$place/.installed" ] && continue
    echo "Installing boto3 $version into $place …"
    rm -rf "$place"
    "$python" -m venv "$place"
    if ! "$place/bin/python" -m pip install --quiet --disable-pip-version-check "boto3==$version" "ansible-core>=2.15,<2.20" "psycopg2-binary>=2.9.9,<3"; then
        rm -rf "$place"
        echo "skipped: pip cannot install boto3 $version (is its index out of reach?)."
        exit 0
    fi
    touch "$place/.installed"
done
