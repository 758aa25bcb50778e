#!/bin/sh
# Install Patroni and etcd, from Debian's packages, for the tests of servers that Patroni manages. Nothing is started.
# Who is not root, or has no apt, gets nothing, and nothing fails: the tests skip, and say so.
set -eu

for program in patroni etcd; do
    command -v "$program" >/dev/null 2>&1 || missing=yes
done
[ -n "${missing:-}" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "skipped: Patroni and etcd are not here (Debian: apt-get install patroni etcd-server python3-etcd)."
    exit 0
fi

echo "Installing Patroni and etcd …"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
if ! apt-get install -y --no-install-recommends patroni etcd-server python3-etcd >/dev/null; then
    echo "skipped: Patroni and etcd cannot be installed here."
    exit 0
fi
# Where systemd runs, the packages start what the tests start themselves.
if [ -d /run/systemd/system ]; then
    systemctl disable --now etcd.service >/dev/null 2>&1 || true
fi
