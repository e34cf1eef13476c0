"""Fast ResNets on CPUs: classify, embed and fine-tune pictures.

    import resnetswift as rs

    net = rs.load("resnet50.pth")                    # or .safetensors, .npz, a folder, "resnet50"
    net.classify("photo.jpg", top=3)                 # [Score(name='tabby', probability=0.62, index=281), ...]
    net.embed(["a.jpg", "b.png"])                    # float32 (2, 2048)
    net.predict(x)                                   # logits of float32 (N, 3, 224, 224)

    run = rs.train("photos", weights="resnet18.pth", freeze="allButHead", epochs=5)
    run.load().classify("new.jpg")

A picture is a path, the bytes of a picture file, an open file, a uint8 array (height, width, channels) or a PIL image. It goes through
the transform that the weights were trained with. Floating-point arrays (N, channels, height, width) are taken as they are.

``python -m resnetswift`` is the program ``resnet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._native import ResNetError
from .network import Explanation, Network, Score, load, models

if TYPE_CHECKING:
    from .estimators import ResNetClassifier, ResNetFeatures
    from .training import Evaluation, StopTraining, TrainingRun, evaluate, train

__all__ = [
    "Evaluation", "Explanation", "Network", "ResNetClassifier", "ResNetError", "ResNetFeatures", "Score", "StopTraining", "TrainingRun",
    "evaluate", "load", "models", "train", "version"]

# Loaded when they are first used: an import stays quick, and scikit-learn is needed by its users only.
_LATER = {
    "ResNetClassifier": "estimators", "ResNetFeatures": "estimators", "Evaluation": "training",
    "StopTraining": "training", "TrainingRun": "training", "evaluate": "training", "train": "training"}


def version() -> str:
    """The version of the library, such as ``"0.1.0"``."""
    from . import _native

    return _native.library().resnet_version().decode()


def __getattr__(name: str):
    if name in _LATER:
        import importlib

        value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(_LATER))
