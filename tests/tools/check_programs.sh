#!/bin/sh
# Say which programs the tests and the demo miss, and in which packages they are.
missing=""
for pair in zstd:zstd lz4:lz4 gzip:gzip gpg:gnupg; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
echo "Missing programs; install the packages:$missing (Debian: apt-get install$missing; Red Hat: dnf install$missing)." >&2
exit 1
