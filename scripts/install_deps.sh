#!/usr/bin/env bash
# Installs the apt packages given that are not there yet, and says so; quick and silent when all are. Then asks for Swift,
# unless the first argument is --no-swift.
set -euo pipefail

needs_swift=1
if [ "${1-}" = --no-swift ]; then
    needs_swift=
    shift
fi

missing=()
for package in "$@"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "These packages are missing and need root to install: ${missing[*]}" >&2
            exit 1
        }
        root=(sudo)
    fi
    echo "Installing with apt: ${missing[*]}"
    "${root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists at hand" >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

[ -z "$needs_swift" ] || command -v swift >/dev/null || {
    echo "Swift 6.2 or newer is needed: https://www.swift.org/install/linux" >&2
    exit 1
}
