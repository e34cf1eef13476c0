#!/usr/bin/env bash
# Installs the wheel of `make wheel` in a folder of its own and runs Tests/PythonTests with it, away from the sources.
#
# PYTHON=... names a Python with NumPy and pip; otherwise it is python3, and what that lacks comes from Debian. Tests that need
# PyTorch, scikit-learn or Pillow are skipped where they are not installed; the closing lines say so.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=${PYTHON:-python3}
wheel=$(echo .build/wheel/*.whl)
is_ready() { "$python" -c 'import numpy, pip' 2>/dev/null; }
[ -n "${PYTHON-}" ] || is_ready || scripts/install_deps.sh --no-swift python3-numpy python3-pip
is_ready || {
    echo "$(command -v "$python" || echo "$python") has no NumPy or no pip; PYTHON=... names another Python" >&2
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m pip install --quiet --root-user-action=ignore --no-deps --no-index --target "$scratch/packages" "$root/$wheel"
native=$scratch/packages/resnetswift/native
foreign=$(nm -D -g --defined-only "$native/libresnet.so" | awk '$3 !~ /^resnet_/ { print $3 }')
[ -z "$foreign" ] || {
    echo "libresnet.so shows symbols that are not its own: $(echo "$foreign" | head -n 5 | tr '\n' ' ')" >&2
    exit 1
}
echo "$(basename "$wheel"): $(stat -c %s "$wheel") bytes, libresnet.so $(stat -c %s "$native/libresnet.so"), resnet $(
    stat -c %s "$native/resnet")"
cd "$scratch"
PYTHONPATH=$scratch/packages:$root/Tests/PythonTests "$python" -W error::ResourceWarning -m unittest discover -v \
    -s "$root/Tests/PythonTests" "$@" >tests.log 2>&1 || {
    cat tests.log
    exit 1
}
grep -o "^.*skipped '[^']*'" tests.log || true
tail -n 3 tests.log
