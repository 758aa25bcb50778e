#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# rootfs.sh PACKAGE...: a layer of Debian packages of this machine's release, unpacked and not configured: quick, no chroot, no maintainer
# scripts. $WITHOUT, if set: a list of files (packages.txt of a layer below) that are there already.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
. "$HERE/compile_python.sh"
root="$WORK/root"
debs="$WORK/debs"
mkdir -p "$debs/partial" "$root"
: >"$WORK/status"
apt() {
    apt-get -qq -y -o Dir::State::Status="$WORK/status" -o Dir::Cache::Archives="$debs" -o Debug::NoLocking=1 \
        -o APT::Install-Recommends=0 -o APT::Sandbox::User=root "$@"
}
apt --print-uris install "$@" | sed -n "s/^'[^']*' \([^ ]*\) .*/\1/p" | sort >"$OUT/packages.txt"
apt --download-only install "$@"
if [ -n "${WITHOUT:-}" ]; then
    comm -23 "$OUT/packages.txt" "$WITHOUT" >"$WORK/wanted"
else
    cp "$OUT/packages.txt" "$WORK/wanted"
fi
# Debian's /bin is a link to /usr/bin; in a layer upon another, the link below does.
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
while read -r deb; do
    dpkg-deb --fsys-tarfile "$debs/$deb" | tar -x --keep-directory-symlink -C "$root" \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*' \
        --exclude='./usr/lib/*/perl*' --exclude='./usr/lib/llvm*' --exclude='*/libLLVM*' --exclude='*/bitcode/*' --exclude='*/llvmjit.so'
done <"$WORK/wanted"
if [ -z "${WITHOUT:-}" ]; then
    mkdir -p "$root"/{etc/ssl/certs,tmp,var/tmp,run/postgresql,proc,sys,dev,root,var/lib/postgresql}
    # 26 is postgres in CloudNativePG's images; 10001 is who Jobs run as.
    cat >"$root/etc/passwd" <<'END'
root:x:0:0::/root:/bin/bash
postgres:x:26:26::/var/lib/postgresql:/bin/bash
holdfast:x:10001:10001::/tmp:/bin/bash
nobody:x:65534:65534::/:/bin/false
END
    printf 'root:x:0:\npostgres:x:26:\ntape:x:30:\nholdfast:x:10001:\nnogroup:x:65534:\n' >"$root/etc/group"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
    chmod 1777 "$root/tmp" "$root/var/tmp"
    chmod 2777 "$root/run/postgresql"
    chown -R 26:26 "$root/var/lib/postgresql" "$root/run/postgresql"
    # What update-alternatives would do.
    [ -e "$root/usr/bin/sh" ] || ln -s bash "$root/usr/bin/sh"
    [ -e "$root/usr/bin/awk" ] || ln -s mawk "$root/usr/bin/awk"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    ldconfig -r "$root" 2>/dev/null || true
    compile_python "$root" "$root"/usr/lib/python3*
else
    rm "$root/bin" "$root/sbin" "$root/lib" "$root/lib64"
fi
tar --sort=name --mtime=@0 --numeric-owner -C "$root" -cf "$OUT/layer.tar" .
