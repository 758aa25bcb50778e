#!/bin/sh
# Install pgBackRest for the tests: the system's package, and beside it, inside this checkout, the one of Debian 13, as that of
# Debian 12 does not know PostgreSQL 16 and newer. It runs with libraries of its own, so nothing of the system is replaced.
# Where there is no apt nothing is installed and nothing fails: the tests that need it skip, and say so.
set -eu
release=trixie
packages="pgbackrest libc6 libgcc-s1 libpq5 libssl3t64 libxml2 libssh2-1t64 libzstd1 liblz4-1 libbz2-1.0 zlib1g liblzma5
    libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libldap2 libsasl2-2"

cd "$(dirname "$0")/../.."
place="$PWD/.work/pgbackrest"
stamp="$place/.installed"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "skipped: pgBackRest is installed by apt-get, which is not here."
    exit 0
fi
if ! command -v pgbackrest >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        echo "Installing pgBackRest …"
        apt-get install -y -qq --no-install-recommends pgbackrest >/dev/null \
            || echo "skipped: pgBackRest cannot be installed (apt-get update may help)."
    else
        echo "skipped: pgBackRest is not installed, and only root can do that (apt-get install pgbackrest)."
    fi
fi
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$release $packages" ] && exit 0
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ ! -f "$keys" ]; then
    echo "skipped: the newer pgBackRest is Debian's, and $keys is not here."
    exit 0
fi

echo "Unpacking pgBackRest of Debian's $release into .work/pgbackrest …"
rm -rf "$place"
mkdir -p "$place/apt/lists/partial" "$place/apt/cache/archives/partial" "$place/debs" "$place/root"
echo "deb [signed-by=$keys] http://deb.debian.org/debian $release main" >"$place/apt/sources.list"
: >"$place/apt/status"
# An apt of its own, which neither reads nor changes what the system's knows.
own_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$place/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$place/apt" -o Dir::State::status="$place/apt/status" -o Dir::Cache="$place/apt/cache" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User= "$@"
}
# shellcheck disable=SC2086
if ! { own_apt update && (cd "$place/debs" && own_apt download $packages); }; then
    rm -rf "$place"
    echo "skipped: Debian's $release is out of reach."
    exit 0
fi
for package in "$place"/debs/*.deb; do
    dpkg-deb --extract "$package" "$place/root"
done
rm -rf "$place/apt" "$place/debs"

# Called under this name by PostgreSQL too, and by itself for its helpers.
cat >"$place/pgbackrest" <<END
#!/bin/sh
libraries=\$(dirname "$place"/root/usr/lib/*/libc.so.6)
export PGBACKREST_CMD="$place/pgbackrest"
exec "\$libraries"/ld-linux-*.so.* --argv0 "$place/pgbackrest" --library-path "\$libraries" "$place/root/usr/bin/pgbackrest" "\$@"
END
chmod +x "$place/pgbackrest"
"$place/pgbackrest" version
echo "$release $packages" >"$stamp"
