#!/usr/bin/env bash
# The demo: trains a ResNet on 1437 handwritten digits, scores it on 360 that it never saw and that decide nothing, draws the
# curves, reads 20 pictures with it; then ResNet-50 is timed with random weights.
set -euo pipefail
resnet=$(realpath "$1")
cd "$(dirname "$0")/.."
out=.build/demo

run() {
    echo "\$ resnet $*" | fold -s -w 100 | sed '2,$s/^/    /; $!s/$/\\/'
    "$resnet" "$@"
    echo
}

run train demo/digits.npz --model cifar_resnet20 --size 16 --epochs 30 --batch 64 --lr 0.1 --schedule one-cycle \
    --weight-decay 5e-4 --crop 0.8,1 --crop-ratio 0.9,1.1 --label-smoothing 0.05 --monitor loss --overwrite --out $out
run classify demo/digits --weights $out/best.safetensors --top 1
run time --model resnet50 --seconds 3
