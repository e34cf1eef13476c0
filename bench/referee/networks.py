"""The networks that are compared: how PyTorch makes each one, which pictures it takes, how many logits it gives.

Most are torchvision's; two are timm's; the others are the restatements in scripts/torch_models.py that the tests use too.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@dataclass(frozen=True)
class Network:
    size: int = 224  # pictures are (3, size, size)
    classes: int = 1000
    restated: str | None = None  # the class in scripts/torch_models.py
    of_timm: bool = False


NETWORKS = {
    "resnet18": Network(),
    "resnet34": Network(),
    "resnet50": Network(),
    "resnet101": Network(),
    "resnet152": Network(),
    "resnext50_32x4d": Network(),
    "resnext101_32x8d": Network(),
    "resnext101_64x4d": Network(),
    "wide_resnet50_2": Network(),
    "wide_resnet101_2": Network(),
    # One yes-or-no unit on pictures of 280 pixels: what the two were asked to do. Compared before the sigmoid.
    "googlenet": Network(280, 1, "GoogLeNet"),
    "alexnet_mini": Network(280, 1, "AlexNetMini"),
    "convnext_tiny": Network(of_timm=True),
    "davit_tiny": Network(of_timm=True),
}


def restatements():
    """scripts/torch_models.py as a module."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    import torch_models

    return torch_models


def create(name):
    """The PyTorch module with its first values."""
    network = NETWORKS[name]
    if network.restated:
        return getattr(restatements(), network.restated)(classes=network.classes)
    if network.of_timm:
        import timm

        return timm.create_model(name)
    import torchvision

    return torchvision.models.get_model(name, weights=None)
