"""ONNX in and out, live. In: networks as PyTorch's two exporters write them at many operator sets, read by `resnet predict`,
beside PyTorch's logits. Out: networks that `resnet convert` writes, run by ONNX Runtime, beside `resnet predict` of the weights.

    python3 scripts/check_against_onnx.py [--resnet .build/release/resnet] [--models resnet18,resnet50]

Differences are of the largest logit, and must stay under 1e-4. Exits with 1 if one does not. Needs torch, torchvision, timm, onnx,
onnxscript and onnxruntime.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import timm
import torch

from check_against_torch import random_model
from make_timm_fixtures import randomized

BOUND = 1e-4
# (dynamo, operator set, what else)
EXPORTS = [(False, opset, {}) for opset in (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 20)] + [
    (False, 9, {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}),
    (False, 13, {"dynamic_axes": {"x": {0: "N", 2: "height", 3: "width"}, "y": {0: "N"}}}),
    (True, 18, {}), (True, 20, {}), (True, 21, {}), (True, 22, {}), (True, 22, {"external_data": False}),
    (True, 18, {"dynamic_shapes": {"x": {0: torch.export.Dim("N", min=1, max=64)}}}),
]  # fmt: skip
OWN = [
    "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "cifar_resnet20", "googlenet", "alexnet_mini",
    "resnet26t", "seresnet18", "ecaresnet26t", "resnetaa50", "resnetblur18", "resnet50_gn", "resnetv2_50d_gn", "davit_tiny",
    "davit_tiny_keras", "convnext_tiny"]
# Written, not read: reflected frames, norms of groups and pixels, attention.
WRITTEN_ONLY = ["resnetblur18", "resnet50_gn", "resnetv2_50d_gn", "davit_tiny", "davit_tiny_keras", "convnext_tiny"]
# timm's, of which a few exports are enough.
TIMM = ["resnet26t", "seresnet18", "ecaresnet26t"]


def predict(tool, weights, x, folder):
    np.save(folder / "x.npy", x)
    run = subprocess.run(
        [tool, "predict", "--weights", weights, "--input", folder / "x.npy", "--output", folder / "y.npy", "--accuracy",
         "strict"], capture_output=True, text=True)  # fmt: skip
    if run.returncode:
        raise RuntimeError(run.stderr.strip())
    return np.load(folder / "y.npy")


class Report:
    def __init__(self):
        self.worst, self.failures = 0.0, 0

    def add(self, title, found, wanted):
        difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        self.worst = max(self.worst, difference)
        self.failures += not difference < BOUND
        print(f"{title:60} {difference:.1e}{'' if difference < BOUND else '  FAILED'}", flush=True)

    def fail(self, title, problem):
        self.failures += 1
        print(f"{title:60} FAILED: {str(problem).splitlines()[-1][:300]}", flush=True)


def check_import(options, folder, report):
    for name in options.models.split(",") + TIMM if options.models else []:
        model = random_model(name) if name not in TIMM else randomized(timm.create_model(name))
        x = torch.randn(2, 3, 224, 224)
        with torch.no_grad():
            wanted = model(x).numpy()
        for number, (dynamo, opset, other) in enumerate(EXPORTS if name not in TIMM else EXPORTS[6:8] + EXPORTS[-4:]):
            title = f"in {name} {'dynamo' if dynamo else 'torchscript'} opset {opset} {', '.join(other)}"
            path = folder / f"{name}_{number}" / "model.onnx"
            path.parent.mkdir()
            try:
                torch.onnx.export(
                    model, (x,), path, dynamo=dynamo, opset_version=opset, input_names=["x"], output_names=["y"], **other)
            except Exception as error:  # an operator set that this exporter does not write
                print(f"{title:60} not exported: {str(error).splitlines()[0][:120]}")
                continue
            try:
                report.add(title, predict(options.resnet, path, x.numpy(), folder), wanted)
            except RuntimeError as error:
                report.fail(title, error)
            for file in path.parent.iterdir():
                file.unlink()


def own_weights(options, folder):
    """Names and files: the tool's networks at random weights, and heads of other kinds."""
    for name in OWN:
        path = folder / f"{name}.safetensors"
        if options.only and not re.fullmatch(options.only, name):
            continue
        subprocess.run([options.resnet, "init", name, path], check=True, capture_output=True)
        yield name, path
    if options.only:
        return
    body = {key: value for key, value in random_model("resnet18").state_dict().items() if not key.startswith("fc.")}
    hidden = {"head.2.weight": torch.randn(32, 512) / 20, "head.2.bias": torch.randn(32), "head.5.weight": torch.randn(7, 32),
              "head.5.bias": torch.randn(7)}  # fmt: skip
    safetensors.torch.save_file(body | hidden, folder / "hidden.safetensors")
    yield "resnet18 with a hidden layer", folder / "hidden.safetensors"


def check_export(options, folder, report):
    for name, weights in own_weights(options, folder):
        path = folder / "out.onnx"
        try:
            subprocess.run([options.resnet, "convert", weights, path], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            report.fail(f"out {name}", error.stderr.strip())
            continue
        onnx.checker.check_model(onnx.load(path), full_check=True)
        side = 32 if name.startswith("cifar") else 280 if name in ("googlenet", "alexnet_mini") else 224
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for height, width in [(side, side)] if name in ("alexnet_mini", "resnetaa50") else [(side, side), (side + 5, side - 9)]:
            x = np.random.default_rng(1).standard_normal((2, 3, height, width), np.float32)
            wanted = predict(options.resnet, weights, x, folder)
            title = f"out {name} {height}x{width}"
            report.add(title, session.run(["logits"], {"input": x})[0], wanted)
            if name in WRITTEN_ONLY:
                continue
            report.add(f"{title}, and back", predict(options.resnet, path, x, folder), wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", default=".build/release/resnet", help="the command line tool")
    parser.add_argument("--models", default="resnet18,resnet50", help="those that PyTorch exports; '' for none")
    parser.add_argument("--only", help="a pattern of the networks that the tool writes")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        check_export(options, pathlib.Path(name), report)
        check_import(options, pathlib.Path(name), report)
    print(f"worst difference {report.worst:.1e} of the largest logit, {report.failures} failures")
    sys.exit(report.failures > 0)


if __name__ == "__main__":
    main()
