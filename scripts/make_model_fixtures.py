"""Writes Tests/Fixtures/models: what PyTorch and torchvision say about the networks that the Swift graphs describe.

    python3 scripts/make_model_fixtures.py

tree_NAME.txt        print(model)
parameters.json      model -> number of parameters, number of tensors, FNV-1a of the lines "key d0xd1..."; and for some
                     models the lines themselves
shapes.json          model -> picture size -> module -> (C, H, W) of its last output, and the network's MACs
"""

import json
import pathlib

import torch
import torchvision
from torch import nn

import torch_models

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "models"
TORCHVISION = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
]


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def shapes(model, height, width, channels=3):
    """Output shape of every leaf module (of its last call) and the multiply-accumulates of convolutions and linears."""
    found, macs = {}, 0

    def hook(name):
        def record(module, inputs, output):
            nonlocal macs
            found[name] = list(output.shape[1:])
            if isinstance(module, nn.Conv2d):
                macs += output.numel() * module.weight[0].numel()
            if isinstance(module, nn.Linear):
                macs += module.weight.numel()

        return record

    handles = [
        m.register_forward_hook(hook(n)) for n, m in model.named_modules() if not list(m.children())
    ]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, channels, height, width))
    for handle in handles:
        handle.remove()
    return {"modules": found, "macs": macs}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    models = {name: getattr(torchvision.models, name)(weights=None) for name in TORCHVISION}
    for n in (1, 2, 3, 5, 7, 9, 18):
        models[f"cifar_resnet{6 * n + 2}"] = torch_models.CIFARResNet((n, n, n))
    for depth in (18, 34, 50, 101, 152):
        model = getattr(torchvision.models, f"resnet{depth}")(weights=None, num_classes=10)
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
        models[f"cifar_resnet{depth}"] = model
    models["alexnet_mini"] = torch_models.AlexNetMini()
    models["googlenet"] = torch_models.GoogLeNet()
    models["protein_atlas"] = torch_models.protein_atlas()

    for name in ["resnet18", "resnet50", "resnext50_32x4d", "cifar_resnet20", "alexnet_mini", "googlenet",
                 "protein_atlas"]:
        (FOLDER / f"tree_{name}.txt").write_text(f"{models[name]}\n")

    parameters = {}
    for name, model in models.items():
        lines = [
            f"{key} {'x'.join(map(str, value.shape))}"
            for key, value in model.state_dict().items()
            if not key.endswith("num_batches_tracked")
        ]
        parameters[name] = {
            "count": sum(p.numel() for p in model.parameters()),
            "tensors": len(lines),
            "fnv1a": fnv1a("".join(line + "\n" for line in lines)),
        }
        if name in ("resnet18", "resnet50", "cifar_resnet20", "googlenet"):
            parameters[name]["lines"] = lines
    (FOLDER / "parameters.json").write_text(json.dumps(parameters, indent=0))

    sizes = {name: [(224, 224)] for name in TORCHVISION}
    sizes["resnet18"] += [(193, 257), (1, 1), (33, 64)]
    sizes["resnet50"] += [(193, 257)]
    sizes |= {"cifar_resnet20": [(32, 32), (8, 9)], "alexnet_mini": [(280, 280)],
              "googlenet": [(280, 280), (224, 224), (75, 106)], "protein_atlas": [(512, 512)]}
    keep = {"resnet18", "resnet50", "cifar_resnet20", "alexnet_mini", "googlenet", "protein_atlas"}
    result = {}
    for name, list_of_sizes in sizes.items():
        channels = 4 if name == "protein_atlas" else 3
        result[name] = {}
        for height, width in list_of_sizes:
            found = shapes(models[name], height, width, channels)
            if name not in keep:
                del found["modules"]
            result[name][f"{height}x{width}"] = found
    (FOLDER / "shapes.json").write_text(json.dumps(result, separators=(",", ":")))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
