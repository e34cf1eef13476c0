"""Writes Tests/Fixtures/training/gradients.npz: what PyTorch computes in float64 for one pass and for ten steps of whole
networks, whose parameters and pictures both sides make from a formula (scripts/gradient_cases.py).

    python3 scripts/make_gradient_fixtures.py [MODEL...]        (torch, torchvision, timm; some minutes on one core)

Without names all of them; with names the others stay as they are in the file.

MODEL.seed                  of the pictures: that of 8 whose forward pass comes least near to another decision
MODEL.moves                 of each value of each bias, in the order of the state_dict, in hundredths
MODEL.loss                  before any update
MODEL.gradients (P, 26)     a row for each parameter in the order of the state_dict, a fingerprint each:
MODEL.statistics (B, 26)    for each running mean and variance: largest magnitude, length, 8 projections, 16 entries
MODEL.sgd, .adam, .adamw (11)  the learning rate, then the losses before each of ten steps
"""

import pathlib
import sys

import numpy as np
import torch

import counter_random
import gradient_cases

FILE = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "training" / "gradients.npz"
BINS, PROJECTIONS, ENTRIES, SEEDS = 1021, 8, 16, 8
STEPS = {"resnet18", "resnet50", "cifar_resnet20", "googlenet", "alexnet_mini", "davit_tiny"}


def fingerprint(name, values):
    flat = values.reshape(-1)
    folded = np.bincount(np.arange(flat.size) % BINS, flat, BINS)
    bits = counter_random.bits(7, name, BINS + ENTRIES)
    signs = (bits[:BINS, None] >> np.arange(PROJECTIONS, dtype=np.uint64)) & np.uint64(1)
    projections = folded @ np.where(signs == 1, 1.0, -1.0)
    places = [int(word) * flat.size >> 64 for word in bits[BINS:]]
    return np.concatenate([[np.abs(flat).max(), np.sqrt(np.square(flat).sum())], projections, flat[places]])


def rows(tensors):
    return np.float32([fingerprint(name, values) for name, values in tensors.items()]).reshape(len(tensors), -1)


def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [case.name for case in gradient_cases.PINNED]
    arrays = dict(np.load(FILE)) if sys.argv[1:] else {}
    for case in gradient_cases.PINNED:
        if case.name not in wanted:
            continue
        seed = max(range(SEEDS if case.seeds > 1 else 1), key=lambda seed: case.prepare(seed).margin)
        case.prepare(seed)
        loss, gradients, statistics = gradient_cases.step(case)
        own, _ = gradient_cases.worst(gradient_cases.step(case, torch.float32)[1], gradients)
        print(f"{case.name}: seed {seed}, margin {case.margin:.1e}, PyTorch's own error in float32 {own:.1e}", flush=True)
        arrays[f"{case.name}.seed"], arrays[f"{case.name}.loss"] = np.float32([seed]), np.float32([loss])
        arrays[f"{case.name}.moves"] = np.concatenate(list(case.moves.values()))
        arrays[f"{case.name}.gradients"] = rows(gradients)
        if statistics:
            arrays[f"{case.name}.statistics"] = rows(statistics)
        for name in case.rates if case.name in STEPS else []:
            losses = gradient_cases.losses(case, name)
            single = gradient_cases.losses(case, name, dtype=torch.float32)
            arrays[f"{case.name}.{name}"] = np.float32([case.rates[name], *losses])
            print(f"  {name}: {losses.round(4)}, float32 differs by {np.abs(single / losses - 1).max():.1e}", flush=True)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
