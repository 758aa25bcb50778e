#!/bin/sh
# `make image`: the collection's image (extensions/ee) of this checkout, by ansible-builder and podman, docker or buildah, as localhost/holdfast:dev.
set -eu
cd "$(dirname "$0")/../.."
context=.work/image
builder=.work/venv-galaxy/bin/ansible-builder

for engine in podman docker buildah ""; do
    [ -z "$engine" ] || command -v "$engine" >/dev/null 2>&1 || continue
    break
done
if [ -z "$engine" ]; then
    echo "make image needs podman, docker or buildah, and none of them is here (Debian: apt-get install buildah; Red Hat: dnf install podman)." >&2
    exit 1
fi
if [ ! -x "$builder" ]; then
    echo "make image needs ansible-builder, which make lint installs into .work/venv-galaxy where PyPI can be reached." >&2
    exit 1
fi
rm -rf "$context"
mkdir -p "$context"
cp extensions/ee/* "$context/"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory="$context" --
.venv/bin/ansible-galaxy collection build --output-path "$context" "$context" >/dev/null
mv "$context"/holdfast-postgres-*.tar.gz "$context/holdfast-postgres.tar.gz"
"$builder" create --file "$context/execution-environment.yml" --context "$context/context" --output-filename Containerfile
echo "Building localhost/holdfast:dev by $engine …"
exec "$engine" build --tag localhost/holdfast:dev --file "$context/context/Containerfile" "$context/context"
