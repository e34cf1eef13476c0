#!/usr/bin/env python3
"""Writes shapes/MODEL.txt: each distinct convolution of a network with how often it occurs. Run it in the peers'
environment (PyTorch); the files are committed, so this is needed only when the list of networks changes."""

from collections import Counter
from pathlib import Path

import torch
from referee.networks import NETWORKS, create


def shapes(name):
    with torch.device("meta"):
        network = create(name).eval()
    found = Counter()

    def record(module, inputs, output):
        found[
            (module.in_channels, inputs[0].shape[2], inputs[0].shape[3], module.out_channels, *module.kernel_size,
             module.stride[0], module.padding[0], module.groups)
        ] += 1  # fmt: skip

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            assert module.dilation == (1, 1) and module.stride[0] == module.stride[1]
            module.register_forward_hook(record)
    with torch.no_grad():
        network(torch.zeros(1, 3, NETWORKS[name].size, NETWORKS[name].size, device="meta"))
    return found


def main():
    folder = Path(__file__).resolve().parent / "shapes"
    folder.mkdir(exist_ok=True)
    for name, network in NETWORKS.items():
        found = shapes(name)
        grouped = any(shape[-1] > 1 for shape in found)
        lines = [
            f"# {name} at {network.size}x{network.size}: each distinct convolution, in the order of first use",
            "# count  C    H    W    K  kh kw stride pad" + (" groups" if grouped else ""),
        ]
        for (c, h, w, k, kh, kw, stride, pad, groups), count in found.items():
            lines.append(f"{count:7} {c:4} {h:4} {w:4} {k:4} {kh:3} {kw:2} {stride:6} {pad:3}" + (f" {groups:6}" if grouped else ""))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
