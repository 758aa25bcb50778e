#!/bin/sh
# Make the fresh hosts that the tests of the first hour run on: an image of Debian with systemd, PostgreSQL as Debian packages it, sshd, and
# a person's user with sudo (ada). Usage: install_hosts.sh [bookworm|trixie]
#
# It is kept outside the checkout, in $HOLDFAST_TESTS_CACHE (default: ~/.cache/holdfast-tests), and made when it is not there or this file
# has changed: three minutes. Where it cannot be made (no root, no apt, no cgroups), nothing fails: the tests that need it skip, and say so.
set -eu
suite=${1:-bookworm}
cache=${HOLDFAST_TESTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-tests}
stamp="$cache/host-$suite.stamp"
version=$(sha256sum "$0" | cut -c1-16)
mirror=http://deb.debian.org/debian

skip() { echo "skipped: $*"; exit 0; }

[ "$(id -u)" = 0 ] || skip "fresh hosts are containers with systemd, which only root can make."
command -v apt-get >/dev/null 2>&1 || skip "fresh hosts are made by debootstrap and podman from apt-get, which is not here."
missing=""
for pair in podman:podman runc:runc debootstrap:debootstrap ssh:openssh-client iptables:iptables netavark:netavark; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/lib/podman/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    echo "Installing$missing …"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing aardvark-dns >/dev/null \
        || skip "apt-get cannot install$missing (apt-get update may help)."
fi

mkdir -p "$cache"
cat >"$cache/containers.conf" <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
END
[ -f "$cache/key" ] || ssh-keygen -q -t ed25519 -N "" -C "tests of holdfast.postgres" -f "$cache/key"
export CONTAINERS_CONF="$cache/containers.conf"
podman() { command podman --root "$cache/podman" --runroot "${HOLDFAST_TESTS_RUN:-/run/holdfast-tests}" "$@"; }

if [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && podman image exists "holdfast-host:$suite"; then
    exit 0
fi
exec 9>"$cache/host-$suite.lock"
flock 9
[ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && podman image exists "holdfast-host:$suite" && exit 0

root="$cache/root-$suite"
base="$cache/base-$suite.tar"
if [ ! -f "$base" ]; then
    echo "Debian's $suite, by debootstrap …"
    rm -rf "$root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,python3,sudo,openssh-server,ca-certificates,iproute2,cron,less \
        "$suite" "$root" "$mirror" >"$cache/debootstrap-$suite.log" 2>&1 \
        || skip "debootstrap failed; $cache/debootstrap-$suite.log says why."
    tar -C "$root" -cf "$base.new" . && mv "$base.new" "$base"
fi
echo "PostgreSQL and a person's user, on Debian's $suite …"
rm -rf "$root"
mkdir -p "$root"
tar -C "$root" -xf "$base"

# What this machine needs to reach its registries is no part of a fresh host, but without it there is none to install from.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ -f /etc/ssl/certs/ca-certificates.crt ] && cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
[ -f /etc/pip.conf ] && cp /etc/pip.conf "$root/etc/pip.conf"
for name in http_proxy https_proxy no_proxy; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || echo "$name=$value" >>"$root/etc/environment"
done

printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing is started in here
chmod +x "$root/usr/sbin/policy-rc.d"
cat >"$root/make.sh" <<'END'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql tzdata
# What a person installs in the course of the hour is at hand, so that a test takes seconds; it is not installed.
apt-get install -y -qq --no-install-recommends --download-only pipx python3-venv python3-psycopg2 python3-boto3 zstd lz4 gnupg pgbackrest acl
apt-get install -y -qq --download-only pipx
useradd --create-home --shell /bin/bash --groups sudo ada
echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada
chmod 0440 /etc/sudoers.d/ada
systemctl enable ssh >/dev/null 2>&1
rm -f /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d /etc/machine-id
touch /etc/machine-id
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\n' >/etc/systemd/system/ssh.service.d/keys.conf
END
chroot "$root" /bin/sh /make.sh >"$cache/host-$suite.log" 2>&1 || skip "the host could not be made; $cache/host-$suite.log says why."
rm "$root/make.sh"
for home in root home/ada; do
    mkdir -p "$root/$home/.ssh"
    cp "$cache/key.pub" "$root/$home/.ssh/authorized_keys"
    chown -R --reference="$root/$home" "$root/$home/.ssh"
    chmod 0700 "$root/$home/.ssh"
done
tar -C "$root" -c . | podman import --quiet - "holdfast-host:$suite" >/dev/null
rm -rf "$root"
echo "$version" >"$stamp"
echo "holdfast-host:$suite is there."
