"""Compares `resnet predict` with timm's DaViT in float64, live, on random weights: three picture sizes, windows of 7 and 9, the
last norm behind the pool and before it; and the number of parameters.

    python3 scripts/check_davit_against_timm.py [--resnet .build/release/resnet] [--model davit_tiny]

The largest difference must stay under 2e-5 of the largest logit. Beside ours stands that of timm's own float32. Exits with 1
if it does not anywhere.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.torch
import timm
import torch

import counter_random

SIZES = [(224, 224), (280, 280), (376, 227)]
BOUND = 2e-5
# With one output, as the write-up of the Keras network counts it; with 1000.
COUNTS = {"davit_tiny": (27_591_937, 28_360_168)}


def ours(tool, folder, weights, pictures):
    source, target = folder / "x.npy", folder / "y.npy"
    np.save(source, pictures.numpy())
    subprocess.run(
        [tool, "predict", "--weights", str(weights), "--input", str(source), "--output", str(target), "--accuracy", "strict"],
        check=True, stderr=subprocess.DEVNULL)
    return np.load(target)


def difference(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", default=".build/release/resnet", help="the command line tool")
    parser.add_argument("--model", default="davit_tiny", choices=["davit_tiny", "davit_small", "davit_base"])
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = pathlib.Path(name)
        for normalizes_map in (False, True):
            for window in (7, 9):
                classes = 1 if normalizes_map else 1000
                model = timm.create_model(
                    options.model, num_classes=classes, window_size=window, head_norm_first=normalizes_map)
                count = sum(value.numel() for value in model.parameters())
                if options.model in COUNTS and count != COUNTS[options.model][0 if classes == 1 else 1]:
                    sys.exit(f"timm has {count} parameters")
                counter_random.fill(model)
                weights = folder / "weights.safetensors"
                # The file of timm's weights, with what it cannot say in the words of this library.
                metadata = {} if window == 7 else {"resnetswift": "1", "window": f"{window}x{window}"}
                safetensors.torch.save_file(model.state_dict(), weights, metadata)
                for height, width in SIZES:
                    pictures = torch.from_numpy(counter_random.pictures(2, 3, height, width))
                    single = model.float()(pictures).numpy()
                    wanted = model.double()(pictures.double()).numpy()
                    error = difference(ours(options.resnet, folder, weights, pictures), wanted)
                    failures += not error < BOUND
                    order = "norm, pool" if normalizes_map else "pool, norm"
                    print(f"{options.model} {order}, windows {window}x{window}, {height}x{width}, {count} parameters: {error:.1e} "
                          f"(timm float32 {difference(single, wanted):.1e}) {'ok' if error < BOUND else 'TOO LARGE'}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
