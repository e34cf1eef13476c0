#!/usr/bin/env bash
# Runs all examples on small data that they draw themselves; the first argument is the folder of the built programs.
set -euo pipefail
programs=$(realpath "$1")
out=${2:-$(dirname "$programs")/runs}
mkdir -p "$out"

run() {
    local name=$1
    shift
    echo "\$ $name $*"
    # Lines at once: scores and progress come by different ways.
    stdbuf -oL "$programs/$name" --out "$out/$name" "$@" 2>&1
    echo
}

run protein-atlas --model resnet18 --size 64 --count 600 --epochs 8
run protein-atlas --model resnet18 --size 64 --count 450 --epochs 5 --channels 3 --out "$out/protein-atlas-rgb"
# Each cell gets a label, or several with spaces between.
if grep -nvE '^(Id,Predicted|[^,]+,[0-9]+( [0-9]+)*)$' "$out"/protein-atlas*/submission.csv; then exit 1; fi
run cats-and-dogs --model resnet18 --size 64 --epochs 6 --count 300 --batch 16
run posture --weights "$out/cats-and-dogs/best.safetensors" --size 64 --epochs 30
run cifar --depths 14,20 --epochs 6
run glomeruli --size 84 --epochs 5 --count 128 --batch 8 --learning-rate 3e-4 --davit-learning-rate 3e-5
run glomeruli --data "$out/glomeruli/pictures-128" --models davit_tiny_keras --davit "$out/glomeruli/davit_tiny_keras.safetensors" \
    --out "$out/glomeruli-features" --freeze allButHead --size 84 --epochs 5 --batch 8 --learning-rate 1e-3
echo "\$ four-situations --repeats 2"
stdbuf -oL "$programs/four-situations" --repeats 2 2>&1
