#!/usr/bin/env bash
# Strangers' SwiftPM packages depend on this one by version, from a git repository, as they would from GitHub: the manifest
# of docs/embedding.md is resolved, and Examples/Swift is built so and all its programs run.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$root/.build/stranger
# The commit stands in the path: SwiftPM remembers what a version of a URL was.
repository=$work/repositories/$(git rev-parse --short HEAD)/ResNetSwift
rm -rf "$work/repositories" "$work/app" "$work/tree"
mkdir -p "$work/app/Sources/app"

# What is committed, as a repository of its own with a tag.
git clone -q "file://$root" "$repository"
git -C "$repository" tag -f 0.1.0 >/dev/null

# The manifest is that of docs/embedding.md; only the place is another.
awk '/^```/ { inside = 0 } inside; /^```swift$/ { getline; if (/^\/\/ swift-tools-version/) { inside = 1; print } }' docs/embedding.md |
    sed "s|https://example.com/ResNetSwift.git|file://$repository|" >"$work/app/Package.swift"
grep -q "file://$repository" "$work/app/Package.swift"
echo 'import ResNetSwift' >"$work/app/Sources/app/main.swift"
swift package --package-path "$work/app" --scratch-path "$work/resolved" show-dependencies

# One of the examples reads demo/.
examples=$work/tree/Examples/Swift
mkdir -p "$work/tree"
git -C "$repository" archive HEAD Examples/Swift demo | tar -x -C "$work/tree"
sed -i "s|\.package(name: \"ResNetSwift\", path: \"../..\")|.package(url: \"file://$repository\", from: \"0.1.0\")|" \
    "$examples/Package.swift"
grep -q "file://$repository\", from" "$examples/Package.swift"
swift build -c release --package-path "$examples" --scratch-path "$work/build"
"$examples/run.sh" "$work/build/release" "$work/runs"
