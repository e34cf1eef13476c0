"""Writes Tests/Fixtures/parity/outputs.npz: what PyTorch, torchvision and timm compute, in float32 (timm's networks in
float64), for networks and pictures that both sides make from a formula (scripts/counter_random.py).

    python3 scripts/make_parity_fixtures.py [MODEL...]

Without names all of them; with names the others stay as they are in the file.
Keys: MODEL_HxW_N.logits (N, classes) and MODEL_HxW_N.features (N, features).
"""

import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision

import counter_random
import torch_models

FILE = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "parity" / "outputs.npz"
RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
SIZES = [(224, 224, 1), (193, 257, 1), (64, 64, 3)]


def cases():
    for name in RESNETS + ["resnext50_32x4d", "wide_resnet50_2"]:
        yield name, getattr(torchvision.models, name)(), SIZES
    yield "cifar_resnet20", torch_models.CIFARResNet(), [(32, 32, 3), (45, 33, 2)]
    yield "alexnet_mini", torch_models.AlexNetMini(), [(280, 280, 2)]
    yield "davit_tiny", timm.create_model("davit_tiny"), [(224, 224, 1), (376, 227, 1), (280, 280, 1)]
    keras = timm.create_model(
        "davit_tiny", num_classes=1, window_size=9, head_norm_first=True, drop_rate=0.3)
    yield "davit_tiny_keras", keras, [(280, 280, 2)]
    yield "convnext_tiny", timm.create_model("convnext_tiny"), [(224, 224, 1), (96, 75, 3)]
    yield "resnet50_gn", timm.create_model("resnet50_gn"), [(64, 64, 2), (97, 75, 1)]
    yield "googlenet", torch_models.GoogLeNet(), [(280, 280, 1), (97, 75, 3)]


def features(model, pictures):
    """The flattened vector before the last linear layer."""
    found = []
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    logits = model(pictures)
    hook.remove()
    return logits, found[0]


def main():
    wanted = sys.argv[1:]
    arrays = dict(np.load(FILE)) if wanted else {}
    for name, model, sizes in cases():
        if wanted and name not in wanted:
            continue
        counter_random.fill(model)
        for height, width, images in sizes:
            pictures = torch.from_numpy(counter_random.pictures(images, 3, height, width))
            if name.startswith(("davit", "convnext", "resnet50_gn")):
                model, pictures = model.double(), pictures.double()
            with torch.no_grad():
                logits, h = features(model, pictures)
            key = f"{name}_{height}x{width}_{images}"
            arrays[f"{key}.logits"], arrays[f"{key}.features"] = logits.float().numpy(), h.float().numpy()
            print(f"{key}: logits up to {logits.abs().max():.3g}, h up to {h.abs().max():.3g}")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    np.savez(FILE, **arrays)


if __name__ == "__main__":
    main()
