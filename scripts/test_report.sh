#!/usr/bin/env bash
# Trains the digits, trains on two labels a picture, evaluates, and opens each report.html in headless Chromium as a desktop, a phone, a
# dark page and in print (scripts/check_report_in_browser.py). Without Chromium nothing is looked at, which is said.
#
#     scripts/test_report.sh [TOOL] [PICTURE]      docs/report.png is what `make test-report PICTURE=docs/report.png` wrote
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(realpath "${1:-.build/debug/resnet}") picture=${2-}
command -v chromium >/dev/null || {
    echo "chromium is not installed: report.html is not looked at"
    exit
}
check=$PWD/scripts/check_report_in_browser.py picture=${picture:+$(realpath -m "$picture")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$PWD/demo" "$work/demo"
cd "$work" # so that pages show short paths
look() { python3 "$check" "$1" --out pictures "${@:2}"; }
run() { "$tool" "$@" >log 2>&1 || { cat log >&2 && exit 1; }; }

run train demo/digits.npz --model cifar_resnet20 --epochs 8 --lr 0.05 --seed 1 --out digits
look digits/report.html ${picture:+--picture "$picture"}
run evaluate demo/digits.npz --weights demo/digits.safetensors --report evaluation.html
look evaluation.html
python3 -c 'import numpy' 2>/dev/null || {
    echo "python3 has no NumPy: a page of several labels is not looked at"
    exit
}
# Two labels a picture: whether it is seven, whether it is even.
python3 - labels.npz <<'PY'
import sys
import numpy as np

with np.load("demo/digits.npz") as arrays:
    images, labels = arrays["x_train"][:400], arrays["y_train"][:400]
np.savez(sys.argv[1], images=images, labels=np.stack([labels == 7, labels % 2 == 0], 1).astype(np.uint8))
PY
run train labels.npz --multi-label --model cifar_resnet8 --epochs 2 --out labels
look labels/report.html
