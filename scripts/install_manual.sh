#!/usr/bin/env bash
# Writes the manual page and the shell completions of a built program where programs look for them.
#
#     scripts/install_manual.sh RESNET SHARE [ZSH]       such as .build/release/resnet /usr/local/share zsh/site-functions
set -euo pipefail
resnet=$(realpath "$1") share=$(realpath -m "$2")
cd "$(dirname "$0")"
python3 make_manual.py "$resnet" | install -D -m 644 /dev/stdin "$share/man/man1/resnet.1"
completion() { "$resnet" --generate-completion-script "$1" | install -D -m 644 /dev/stdin "$share/$2"; }
completion bash bash-completion/completions/resnet
completion zsh "${3:-zsh/site-functions}/_resnet"
completion fish fish/vendor_completions.d/resnet.fish
