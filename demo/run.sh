#!/usr/bin/env bash
# The demo: a small network reads 20 digits that it never saw in training; then ResNet-50 is timed with random weights.
set -euo pipefail
resnet=$(realpath "$1")
cd "$(dirname "$0")/.."

run() {
    echo "\$ resnet $*"
    "$resnet" "$@"
    echo
}

run classify demo/digits --weights demo/digits.safetensors --top 1
run time --model resnet50 --seconds 3
