"""Compares training with PyTorch in float64, live and entry by entry: the loss, every gradient tensor and every running
statistic of one pass, and the losses of ten steps with SGD and with Adam, or with AdamW.

    swift build -c release --product training-steps
    python3 scripts/check_gradients_against_torch.py [--program .build/release/training-steps] [--models resnet18,resnet50]

Every entry must be within 1e-3 of its tensor's largest, every loss within 1e-3 of itself, and for DaViT and ConvNeXt within 1e-4; with and
without Winograd, with and without checkpoints. Beside our error stands that of PyTorch's own float32. Exits with 1 if a bound is not kept anywhere.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.numpy
import torch

import gradient_cases

def run(program, case, folder, *settings):
    """What the program says of a case, as float64 by name."""
    state = {
        key: value.float().numpy()
        for key, value in case.model().state_dict().items() if not key.endswith("num_batches_tracked")}
    paths = [str(folder / name) for name in ("weights.safetensors", "batch.npz", "output.safetensors")]
    safetensors.numpy.save_file(state, paths[0])
    np.savez(paths[1], pictures=case.pictures.numpy(), labels=case.labels().numpy().astype(np.float32))
    subprocess.run([program, case.name, *paths, *map(str, settings)], check=True)
    return {key: np.float64(value) for key, value in safetensors.numpy.load_file(paths[2]).items()}


def part(found, kind):
    return {key.removeprefix(f"{kind}."): value for key, value in found.items() if key.startswith(f"{kind}.")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=".build/release/training-steps")
    parser.add_argument("--models", default=",".join(case.name for case in gradient_cases.LIVE))
    parser.add_argument("--no-steps", action="store_true", help="one pass only, which is the quicker half")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failures = 0

    def report(case, what, error, own, detail=""):
        nonlocal failures
        failures += not error < case.bound
        verdict = "ok" if error < case.bound else "TOO LARGE"
        print(f"{case.name:16} {what:34} {error:.1e} (PyTorch float32 {own:.1e}) {verdict} {detail}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for case in gradient_cases.LIVE:
            if case.name not in options.models.split(","):
                continue
            case.prepare(max(range(case.seeds), key=lambda seed: case.prepare(seed).margin))
            loss, gradients, statistics = gradient_cases.step(case)
            single = gradient_cases.step(case, torch.float32)
            print(f"{case.name:16} {case.size}x{case.size} batch {case.images}, {len(gradients)} tensors, "
                  f"margin {case.margin:.1e}")
            for accuracy in ("strict", "default"):
                for checkpointing in ("none", "blocks"):
                    found = run(options.program, case, folder, accuracy, checkpointing)
                    label = f"{accuracy}, checkpoints {checkpointing}:"
                    report(case, f"{label} loss", abs(found["loss"][0] / loss - 1), abs(single[0] / loss - 1))
                    for kind, wanted, own in (
                            ("gradient", gradients, single[1]), ("statistic", statistics, single[2])):
                        ours = part(found, kind)
                        if set(ours) != set(wanted):
                            sys.exit(f"{case.name}: expected {kind}s {sorted(wanted)}, found {sorted(ours)}")
                        if wanted:
                            error, key = gradient_cases.worst(ours, wanted)
                            report(case, f"{label} {kind}s", error, gradient_cases.worst(own, wanted)[0], key)
            for optimizer in () if options.no_steps else case.rates:
                wanted = gradient_cases.losses(case, optimizer)
                own = gradient_cases.losses(case, optimizer, dtype=torch.float32)
                ours = run(options.program, case, folder, "default", "none", optimizer, case.rates[optimizer],
                           len(wanted))["losses"]
                report(case, f"ten steps of {optimizer}", np.abs(ours / wanted - 1).max(), np.abs(own / wanted - 1).max(),
                       f"loss {wanted[0]:.3f} to {wanted[-1]:.3f}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
