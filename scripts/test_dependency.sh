#!/usr/bin/env bash
# A stranger's SwiftPM package depends on this one by version, from a git repository, as it would from GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$root/.build/stranger
rm -rf "$work/ResNetSwift" "$work/app"
mkdir -p "$work/app/Sources/app"

# What is committed, as a repository of its own with a tag.
git clone -q "file://$root" "$work/ResNetSwift"
git -C "$work/ResNetSwift" tag -f 0.1.0 >/dev/null

# The manifest is that of docs/embedding.md; only the place is another.
awk '/^```/ { inside = 0 } inside; /^```swift$/ { getline; if (/^\/\/ swift-tools-version/) { inside = 1; print } }' docs/embedding.md |
    sed "s|https://example.com/ResNetSwift.git|file://$work/ResNetSwift|" >"$work/app/Package.swift"
cat >"$work/app/Sources/app/main.swift" <<'SWIFT'
import ResNetSwift

let model = try Model(from: try WeightFile.open(CommandLine.arguments[1]))
let plan = try InferencePlan(model: model, input: ImageShape(channels: 1, height: 32, width: 32))
let logits = try plan.predict(Tensor(shape: [1, 1, 32, 32], repeating: 0)).logits
print("a stranger's program:", model.graph.modelName, logits.shape)
SWIFT
cd "$work/app"
rm -f Package.resolved
swift run --scratch-path "$work/build" app "$root/demo/digits.safetensors"
