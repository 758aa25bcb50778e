#!/bin/sh
# Build WAL-G for PostgreSQL inside this checkout, by the Go command from the Go module proxy: make wal-g.
# It takes minutes, so `make test` does not: where .work/wal-g/wal-g is not there, nor wal-g in PATH, its tests skip and say so.
set -eu
# Its module has no /v3 in its path, so Go cannot name the tags of versions 2 and 3; this is the commit of 2026-09-13.
version=v1.1.3-rc-with-build.0.20260913163159-ae2b1dfb71ed

cd "$(dirname "$0")/../.."
place=.work/wal-g
stamp="$place/.installed"
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ] && exit 0

go=$(command -v go || echo /usr/local/go/bin/go)
if [ ! -x "$go" ]; then
    echo "skipped: WAL-G is built by the Go command, which is not here (Debian: apt-get install golang-go)."
    exit 0
fi

echo "Building WAL-G into $place, one package at a time …"
rm -rf "$place"
mkdir -p "$place"
# cgo, as zstd is a library in C. The tags brotli and libsodium would need these libraries; they are options of its build.
if ! GOFLAGS=-mod=mod GOBIN="$PWD/$place" GOMEMLIMIT=2GiB GOMAXPROCS=1 CGO_ENABLED=1 \
    nice "$go" install -p 1 "github.com/wal-g/wal-g/main/pg@$version"; then
    rmdir "$place"
    echo "WAL-G could not be built: its tests skip. Put a wal-g 2.0 or newer into PATH instead." >&2
    exit 1
fi
mv "$place/pg" "$place/wal-g"
echo "$version" >"$stamp"
