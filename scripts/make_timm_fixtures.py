"""Writes Tests/Fixtures/timm: timm's relatives of ResNet.

    python3 scripts/make_timm_fixtures.py        (torch, timm, safetensors)

parameters.json      model -> number of parameters, number of tensors, FNV-1a of the sorted lines "key d0xd1..."
NAME.safetensors     small networks of timm's blocks with random weights, all for one input
x.npy, logits.npz    the input, and timm's logits
"""

import json
import pathlib

import numpy as np
import safetensors.torch
import timm
import torch
from functools import partial
from timm.layers import BlurPool2d, get_attn
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from make_model_fixtures import fnv1a
from timm_table import MODELS

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "timm"

SMALL = {
    "c": dict(block=BasicBlock, layers=(1, 1, 2, 1), channels=(8, 8, 12, 16), stem_width=4, stem_type="deep"),
    "d": dict(block=Bottleneck, layers=(1, 2, 1, 1), channels=(4, 4, 6, 8), stem_width=8, stem_type="deep", avg_down=True),
    "t": dict(block=BasicBlock, layers=(1, 1, 1, 1), channels=(8, 8, 12, 16), stem_width=8, stem_type="deep_tiered", avg_down=True),
    "se": dict(block=Bottleneck, layers=(1, 1, 1, 1), channels=(4, 4, 6, 8), block_args=dict(attn_layer="se")),
    "eca": dict(block=BasicBlock, layers=(1, 1, 1, 1), channels=(8, 8, 12, 16), stem_width=4, stem_type="deep", avg_down=True, block_args=dict(attn_layer="eca")),
    "rs": dict(block=Bottleneck, layers=(1, 1, 1, 1), channels=(4, 8, 12, 16), stem_width=4, stem_type="deep", replace_stem_pool=True, avg_down=True, block_args=dict(attn_layer=partial(get_attn("se"), rd_ratio=0.25))),
    "aa": dict(block=Bottleneck, layers=(1, 1, 1, 1), channels=(4, 4, 6, 8), stem_width=4, stem_type="deep", avg_down=True, aa_layer=nn.AvgPool2d),
    "blur": dict(block=BasicBlock, layers=(1, 1, 1, 1), channels=(8, 8, 12, 16), stem_width=4, stem_type="deep", aa_layer=BlurPool2d),
}  # fmt: skip


def randomized(model, seed=5):
    """Statistics and affine parameters as training might leave them."""
    torch.manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or name.endswith("bias"):
            tensor.uniform_(-0.2, 0.2)
        elif tensor.dim() == 1 and tensor.is_floating_point():
            tensor.uniform_(0.4, 0.8)
        elif tensor.dim() > 1:
            torch.nn.init.kaiming_normal_(tensor)
    return model.eval()


def counted(name):
    model = timm.create_model(name)
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    return {
        "count": sum(p.numel() for p in model.parameters()), "tensors": len(lines),
        "fnv1a": fnv1a("".join(line + "\n" for line in lines))}  # fmt: skip


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        counts = {name: counted(name) for name in MODELS}
    (FOLDER / "parameters.json").write_text(json.dumps(counts, indent=1) + "\n")
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 3, 45, 54), np.float32))
    np.save(FOLDER / "x.npy", x.numpy())
    logits = {}
    for name, arguments in SMALL.items():
        model = randomized(ResNet(num_classes=5, **arguments))
        safetensors.torch.save_file(model.state_dict(), FOLDER / f"{name}.safetensors")
        with torch.no_grad():
            # Averages of 2x2 do not take odd sizes.
            pictures = x[..., :32, :32] if name == "aa" else x
            logits[name] = model.double()(pictures.double()).float().numpy()
    np.savez(FOLDER / "logits.npz", **logits)


if __name__ == "__main__":
    main()
