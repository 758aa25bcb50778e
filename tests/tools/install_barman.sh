#!/bin/sh
# Install Barman's programs for object stores, for the tests of the engine barman_cloud, into an environment of their own
# inside this checkout. Where that fails nothing else does: the tests that need them skip, and say so.
set -eu
versions="barman>=3.19,<3.20"
# Its codecs but snappy: a test wants one that is missing. psycopg2 as a wheel, which needs no compiler.
libraries="python-dateutil>=2.8,<3 psycopg2-binary>=2.9.9,<3 boto3>=1.36,<2 azure-storage-blob>=12.19,<13 google-cloud-storage>=2.18,<4 lz4>=4,<5 zstandard>=0.22,<1"

cd "$(dirname "$0")/../.."
place=.work/barman
stamp="$place/.installed"
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$versions $libraries" ] && exit 0

python=$(tests/tools/find_python.sh)
echo "Installing Barman into $place …"
rm -rf "$place"
# The servers' user runs it, whatever the umask of who installs it.
umask 022
pip="$place/bin/python -m pip install --quiet --disable-pip-version-check"
# Barman itself without what it depends on: that would be psycopg2 from source.
# shellcheck disable=SC2086
if "$python" -m venv "$place" && $pip $libraries && $pip --no-deps "$versions"; then
    echo "$versions $libraries" >"$stamp"
else
    rm -rf "$place"
    echo "skipped: Barman could not be installed here."
fi
