#!/usr/bin/env bash
# Unpacks the wheel of `make wheel` into a folder of its own and runs Tests/PythonTests with it, away from the sources.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=${PYTHON:-python3}
wheel=$(echo .build/wheel/*.whl)
"$python" -c 'import numpy' || {
    echo "$python has no NumPy; PYTHON=... names another one" >&2
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m pip install --quiet --no-deps --no-index --target "$scratch/packages" "$root/$wheel"
echo "$(basename "$wheel"): $(stat -c %s "$wheel") bytes"
cd "$scratch"
PYTHONPATH=$scratch/packages:$root/Tests/PythonTests "$python" -W error::ResourceWarning -m unittest discover \
    -s "$root/Tests/PythonTests" "$@"
