#!/usr/bin/env bash
# Builds the documentation of ResNetSwift with the toolchain's DocC, as pages that any web server can hand out. Every warning,
# an unresolved link above all, is an error. SwiftPM's plugin for DocC would do the same, at the price of a dependency for
# whoever depends on this package.
#
#     scripts/build_docs.sh [OUTPUT] [BASE-PATH]        (default: .build/docs, served from the root of a host)
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:-.build/docs}
base=${2:-/}
symbols=.build/docs-symbols

command -v docc >/dev/null || {
    echo "docc: not found; it comes with the Swift toolchain, beside swift" >&2
    exit 1
}
swift build --target ResNetSwift
bin=$(swift build --show-bin-path)
rm -rf "$symbols" "$output"
mkdir -p "$symbols" "$(dirname "$output")"
# Symbols of all rooms under the name that users import.
rooms=$(sed -n 's/^@_exported import //p' Sources/ResNetSwift/ResNetSwift/ResNetSwift.swift | paste -sd ,)
maps=()
for map in "$PWD/Sources/CZlib/module.modulemap" "$bin"/C{Kernels,ImageCodecs}.build/module.modulemap; do
    maps+=(-Xcc "-fmodule-map-file=$map")
done
swift symbolgraph-extract -module-name ResNetSwift -target "$(swiftc -print-target-info |
    sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p' | head -n 1)" -I "$bin/Modules" "${maps[@]}" \
    -minimum-access-level public -skip-synthesized-members -experimental-allowed-reexported-modules="$rooms" \
    -output-dir "$symbols"
if command -v python3 >/dev/null; then python3 scripts/undocumented.py "$symbols/ResNetSwift.symbols.json"; fi
docc convert Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc --additional-symbol-graph-dir "$symbols" --output-path "$output" \
    --fallback-display-name ResNetSwift --fallback-bundle-identifier ResNetSwift --transform-for-static-hosting \
    --hosting-base-path "$base" --warnings-as-errors
# A symbol that no topic of the landing page lists would be filed by its kind.
if grep -q '"generated":true' "$output/data/documentation/resnetswift.json"; then
    echo "Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc/ResNetSwift.md lists not every public symbol; missing:" >&2
    # A generated section names its symbols between its brackets.
    grep -oE '\{[^{}]*"generated":true[^{}]*\}' "$output/data/documentation/resnetswift.json" |
        grep -oE '"doc:[^"]*' | sed 's|.*/||' >&2
    exit 1
fi
echo "$output: $(find "$output/data/documentation" -name '*.json' | wc -l) pages; to read them: python3 -m http.server -d $output," \
    "then http://localhost:8000/documentation/resnetswift"
