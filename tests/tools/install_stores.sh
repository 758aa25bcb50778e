#!/bin/sh
# Install what the lab's object stores need beyond PyPI, inside this checkout: Azurite, which speaks Azure Blob Storage.
# Without node and npm nothing is installed and nothing fails: the tests that need it skip, and say so.
set -eu
# From 3.36 on Azurite wants Node.js 21 or newer, which Debian 12 and Ubuntu 24.04 do not have.
versions=">=3.34.0 <3.36.0"

cd "$(dirname "$0")/../.."
place=.work/azurite
stamp="$place/.installed"
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$versions" ] && exit 0

for program in node npm; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "skipped: Azurite needs $program, which is not here (Debian: apt-get install nodejs npm)."
        exit 0
    fi
done

echo "Installing Azurite into $place …"
rm -rf "$place"
mkdir -p "$place"
# npm wants a project of its own here, or it takes one above for it.
echo '{"private": true}' >"$place/package.json"
if ! npm install --prefix "$place" --silent --no-progress --no-audit --no-fund --no-update-notifier --fetch-retries 1 "azurite@$versions"; then
    rm -rf "$place"
    echo "skipped: npm cannot install Azurite (is its registry out of reach?)."
    exit 0
fi
echo "$versions" >"$stamp"
