#!/bin/sh
# Print the Python (3.11 or newer, with venv) to build the virtual environment from, or say what is missing.
# /usr/bin first: the python3 of a version manager may lie in a home that other users cannot enter.
for python in /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 python3 python3.12 python3.11; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "holdfast.postgres needs Python 3.11 or newer with its venv module on the controller (Debian: apt-get install python3-venv)." >&2
exit 1
