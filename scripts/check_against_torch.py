"""Compares `resnet predict` and `resnet embed` with torchvision, live: random weights with randomized batch-norm statistics,
written by PyTorch in every format, at two picture sizes and two batch sizes, with and without Winograd.

    python3 scripts/check_against_torch.py [--resnet .build/release/resnet] [--models resnet18,resnet50]

The largest difference must stay under 1e-4 of the largest logit with direct kernels and under 5e-4 by default. Exits with 1
if it does not anywhere.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.torch
import torch
import torchvision

MODELS = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    "wide_resnet50_2", "wide_resnet101_2"]
SIZES = [(224, 224), (193, 257)]
BATCHES = [1, 3]
BOUNDS = {"strict": 1e-4, "default": 5e-4}


def random_model(name):
    """He-initialized by torchvision; statistics and affine parameters as training might leave them."""
    torch.manual_seed(sum(name.encode()))
    model = getattr(torchvision.models, name)()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 0.8)
            module.bias.data.uniform_(-0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def write_all(model, folder):
    state = model.state_dict()
    paths = {kind: str(folder / f"weights_{kind}") for kind in ["zip", "legacy", "safetensors", "npz"]}
    torch.save(state, paths["zip"])
    torch.save(state, paths["legacy"], _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, paths["safetensors"])
    with open(paths["npz"], "wb") as file:
        np.savez(file, **{key: value.numpy() for key, value in state.items()})
    return paths


def run(tool, folder, command, weights, pictures, accuracy):
    source, target = folder / "x.npy", folder / "y.npy"
    np.save(source, pictures)
    arguments = {"predict": ["predict", "--input", source], "embed": ["embed", source]}[command]
    subprocess.run(
        [tool, *map(str, arguments), "--output", str(target), "--weights", weights, "--accuracy", accuracy],
        check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return np.load(target)


def expected(model, pictures):
    trunk = torch.nn.Sequential(*list(model.children())[:-1], torch.nn.Flatten())
    with torch.no_grad():
        features = trunk(torch.from_numpy(pictures))
        return {"predict": model.fc(features).numpy(), "embed": features.numpy()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", default=".build/release/resnet", help="the command line tool")
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    worst, failures = {accuracy: 0.0 for accuracy in BOUNDS}, 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model_name in options.models.split(","):
            model = random_model(model_name)
            weights = write_all(model, folder)
            for height, width in SIZES:
                for batch in BATCHES:
                    generator = np.random.default_rng(height * batch)
                    pictures = generator.standard_normal((batch, 3, height, width), dtype=np.float32)
                    wanted = expected(model, pictures)
                    # Every format once in full; what follows the reading is the same for all.
                    is_first = (height, batch) == (SIZES[0][0], BATCHES[0])
                    for kind in weights if is_first else ["safetensors"]:
                        for accuracy, bound in BOUNDS.items():
                            for command in wanted:
                                found = run(options.resnet, folder, command, weights[kind], pictures, accuracy)
                                same = found.shape == wanted[command].shape
                                error = (
                                    np.abs(found - wanted[command]).max() / np.abs(wanted[command]).max()
                                    if same else np.inf)
                                ok = error < bound
                                failures += not ok
                                worst[accuracy] = max(worst[accuracy], error)
                                print(
                                    f"{model_name:16} {kind:12} {height}x{width} batch {batch} {accuracy:8} {command:8}"
                                    f" {error:.2e} {'ok' if ok else 'TOO LARGE'}", flush=True)
    print(", ".join(f"{accuracy}: worst {error:.2e}" for accuracy, error in worst.items()))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
