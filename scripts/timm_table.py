"""timm's ResNets and their relatives: which of them load, as docs/weights.md lists them.

    python3 scripts/timm_table.py                                 writes the table into docs/weights.md
    python3 scripts/timm_table.py --check [--resnet TOOL] [--size 96]
                                                                  random weights of every model that loads, timm's logits beside
                                                                  `resnet predict`; every other model must be refused

Every name in timm that begins with res, seres, ecares or wide is in the table.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "weights.md"
BEGIN, END = "<!-- timm: written by scripts/timm_table.py -->\n", "<!-- timm: end -->\n"
BOUND = 1e-4

# What loads.
MODELS = """
    resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2
    wide_resnet101_2
    resnet10t resnet14t resnet18d resnet26 resnet26d resnet26t resnet34d resnet50c resnet50d resnet50s resnet50t resnet101c
    resnet101d resnet101s resnet152c resnet152d resnet152s resnet200 resnet200d resnext50d_32x4d resnext101_32x4d
    resnext101_32x16d resnext101_32x32d
    seresnet18 seresnet34 seresnet50 seresnet50t seresnet101 seresnet152 seresnet152d seresnet200d seresnet269d
    seresnext26d_32x4d seresnext26t_32x4d seresnext50_32x4d seresnext101_32x4d seresnext101_32x8d seresnext101_64x4d
    seresnext101d_32x8d
    ecaresnet26t ecaresnet50d ecaresnet50t ecaresnet101d ecaresnet200d ecaresnet269d ecaresnetlight ecaresnext26t_32x4d
    ecaresnext50t_32x4d
    resnetaa34d resnetaa50 resnetaa50d resnetaa101d seresnetaa50d seresnextaa101d_32x8d seresnextaa201d_32x8d
    resnetblur18 resnetblur50 resnetblur50d resnetblur101d
    resnetv2_18 resnetv2_18d resnetv2_34 resnetv2_34d resnetv2_50 resnetv2_50d resnetv2_50t resnetv2_101 resnetv2_101d
    resnetv2_152 resnetv2_152d
    resnet50_gn resnetv2_50d_gn resnetv2_50x1_bit resnetv2_50x3_bit resnetv2_101x1_bit resnetv2_101x3_bit
    resnetv2_152x2_bit resnetv2_152x4_bit
    resnetrs50 resnetrs101 resnetrs152 resnetrs200 resnetrs270 resnetrs350 resnetrs420
""".split()

# What does not, and why, by a pattern of the name; the first that fits counts.
REASONS = [
    (r"res2n", "Res2Net's split convolutions"),
    (r"resmlp", "no convolutional network"),
    (r"resnest", "split attention"),
    (r".*_clip", "attention pooling of CLIP"),
    (r".*_pruned", "channels pruned one by one"),
    (r"resnet(32|33|51|61)|.*26ts|seresnet33ts", "byobnet's blocks and SiLU"),
    (r"resnet50_mlp", "byobnet's MLP head"),
    (r"resnetv2_50d_(evos|frn)", "norms of other kinds"),
]


def reason(name):
    return next(text for pattern, text in REASONS if re.match(pattern, name))


def names():
    import timm

    return [name for name in timm.list_models() if re.match(r"res|seres|ecares|wide", name)]


def table():
    refused = {}
    for name in names():
        if name not in MODELS:
            refused.setdefault(reason(name), []).append(name)
    present = [name for name in names() if name in MODELS]
    lines = ["| timm's name | loads |", "| --- | --- |", f"| {', '.join(present)} | yes |"]
    lines += [f"| {', '.join(group)} | no: {text} |" for text, group in refused.items()]
    return "\n".join(lines) + "\n"


def predict(tool, weights, x, folder):
    import numpy as np

    np.save(folder / "x.npy", x)
    run = subprocess.run(
        [tool, "predict", "--weights", weights, "--input", folder / "x.npy", "--output", folder / "y.npy", "--accuracy",
         "strict"], capture_output=True, text=True)  # fmt: skip
    return (np.load(folder / "y.npy") if run.returncode == 0 else None), run.stderr.strip()


def check(tool, only, size):
    import numpy as np
    import safetensors.torch
    import timm
    import torch

    from make_timm_fixtures import randomized

    worst, failures = 0.0, 0
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 3, size, size), np.float32))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for name in names():
            if only and not re.fullmatch(only, name):
                continue
            path = folder / f"{name}.safetensors"
            model = randomized(timm.create_model(name))
            safetensors.torch.save_file(model.state_dict(), path)
            found, problem = predict(tool, path, x.numpy(), folder)
            path.unlink()
            if name not in MODELS:
                if found is not None:
                    failures += 1
                    print(f"{name:28} is in the table as refused, and was read", flush=True)
                continue
            with torch.no_grad():
                wanted = model(x).numpy()
            difference = float("inf") if found is None else float(np.abs(found - wanted).max() / np.abs(wanted).max())
            worst = max(worst, difference)
            failures += not difference < BOUND
            print(f"{name:28} {difference:.1e} {'' if difference < BOUND else 'FAILED ' + problem[-300:]}", flush=True)
    print(f"worst difference {worst:.1e} of the largest logit, {failures} failures")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", help="a pattern of names to check")
    parser.add_argument("--size", type=int, default=224, help="of the pictures; 96 takes less time")
    parser.add_argument("--resnet", default=".build/release/resnet", help="the command line tool")
    options = parser.parse_args()
    text = DOCUMENT.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if options.check:
        if text[start:end] != table():
            sys.exit("docs/weights.md is not what this script writes")
        sys.exit(check(options.resnet, options.only, options.size) > 0)
    DOCUMENT.write_text(text[:start] + table() + text[end:])


if __name__ == "__main__":
    main()
