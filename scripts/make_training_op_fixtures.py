"""Writes Tests/CoreTests/pinned_losses.h and pinned_optimizers.h: what PyTorch's losses and optimizers give on small seeded data.

    python3 scripts/make_training_op_fixtures.py

losses       kind, its settings, logits and targets -> loss and gradient, in float64 from float32 inputs
optimizers   name, its settings, start, gradients of each step -> parameters after each step, in float32
"""

import torch
from torch.nn import functional as F

import c_tables

ROWS, CLASSES, COUNT, STEPS = 4, 5, 19, 4


def numbers(tensor):
    return [float(v) for v in tensor.detach().reshape(-1)]


def losses(generator):
    logits = torch.randn(ROWS, CLASSES, generator=generator) * 3
    weights = torch.rand(CLASSES, generator=generator) + 0.5
    labels = torch.tensor([2, 0, -100, 4])
    soft = torch.softmax(torch.randn(ROWS, CLASSES, generator=generator), 1)
    binary = (torch.rand(ROWS, CLASSES, generator=generator) < 0.4).float()
    binary[0, 0] = 0.25

    def record(kind, call, **settings):
        x = logits.double().requires_grad_()
        loss = call(x)
        loss.backward()
        return {"kind": kind, "logits": numbers(logits), "loss": float(loss.detach()), "gradient": numbers(x.grad), **settings}

    made = []
    for smoothing in (0.0, 0.1):
        for weight in (None, weights):
            used = None if weight is None else weight.double()
            saved = None if weight is None else numbers(weight)
            made.append(record(
                "cross entropy",
                lambda x: F.cross_entropy(x, labels, weight=used, label_smoothing=smoothing, ignore_index=-100),
                labels=labels.tolist(), weights=saved, smoothing=smoothing))
            made.append(record(
                "soft cross entropy",
                lambda x: F.cross_entropy(x, soft.double(), weight=used, label_smoothing=smoothing),
                targets=numbers(soft), weights=saved, smoothing=smoothing))
    for weight in (None, weights):
        used = None if weight is None else weight.double()
        made.append(record(
            "binary cross entropy",
            lambda x: F.binary_cross_entropy_with_logits(x, binary.double(), pos_weight=used),
            targets=numbers(binary), weights=None if weight is None else numbers(weight), smoothing=0.0))
    return made


def optimizers(generator):
    made = []
    for name, kind, settings in [
        ("sgd", torch.optim.SGD, dict(lr=0.1)),
        ("sgd", torch.optim.SGD, dict(lr=0.1, weight_decay=0.05)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.9, weight_decay=1e-4)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.3)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)),
        ("adam", torch.optim.Adam, dict(lr=0.01)),
        ("adam", torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        ("adamw", torch.optim.AdamW, dict(lr=0.01)),
        ("adamw", torch.optim.AdamW, dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.2)),
    ]:
        w = torch.randn(COUNT, generator=generator)
        grads = torch.randn(STEPS, COUNT, generator=generator) * torch.logspace(-3, 1, COUNT)
        parameter = torch.nn.Parameter(w.clone())
        optimizer = kind([parameter], foreach=False, **settings)
        after = []
        for step in range(STEPS):
            parameter.grad = grads[step].clone()
            optimizer.step()
            after.append(numbers(parameter))
        full = {k: v for k, v in optimizer.defaults.items() if isinstance(v, (int, float, bool)) and k != "foreach"}
        full["betas"] = optimizer.defaults.get("betas", (0.0, 0.0))
        keys = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "betas", "eps")
        made.append({
            "name": name, "start": numbers(w), "gradients": [numbers(g) for g in grads], "after": after,
            **{key: full[key] for key in keys if key in full}})
    return made


KINDS = ["cross entropy", "soft cross entropy", "binary cross entropy"]
LOSS_TYPE = """\
enum { PINNED_ROWS = %d, PINNED_CLASSES = %d };

typedef struct {
    int kind; /* %s */
    double smoothing, loss;
    float logits[PINNED_ROWS * PINNED_CLASSES];
    double gradient[PINNED_ROWS * PINNED_CLASSES];
    int32_t labels[PINNED_ROWS];
    float targets[PINNED_ROWS * PINNED_CLASSES];
    int weighted;
    float weights[PINNED_CLASSES];
} pinned_loss;
"""
OPTIMIZER_TYPE = """\
enum { PINNED_COUNT = %d, PINNED_STEPS = %d };

typedef struct {
    const char *name;
    int is_sgd;
    ck_sgd sgd;
    ck_adam adam;
    float start[PINNED_COUNT], gradients[PINNED_STEPS][PINNED_COUNT];
    double after[PINNED_STEPS][PINNED_COUNT];
} pinned_optimizer;
"""


def loss_text(item):
    fields = [f".kind = {KINDS.index(item['kind'])}", f".smoothing = {item['smoothing']!r}", f".loss = {item['loss']!r}"]
    if item["weights"]:
        fields += [".weighted = 1", f".weights = {c_tables.numbers(item['weights'])}"]
    for key in ("labels", "targets", "logits", "gradient"):
        if key in item:
            fields.append(f".{key} = {c_tables.numbers(item[key])}")
    return "    {" + ",\n     ".join(fields) + "}"


def optimizer_text(item):
    settings = {key: item[key] for key in ("lr", "weight_decay")}
    if item["name"] == "sgd":
        settings |= {key: item[key] for key in ("momentum", "dampening")} | {"nesterov": int(item["nesterov"])}
    else:
        settings |= {"beta1": item["betas"][0], "beta2": item["betas"][1], "eps": item["eps"]}
        settings["decoupled"] = int(item["name"] == "adamw")
    values = ", ".join(f".{key} = {value!r}" for key, value in settings.items())
    is_sgd = item["name"] == "sgd"
    title = ", ".join([item["name"]] + [f"{key} {value!r}" for key, value in settings.items() if value])
    fields = [f'.name = "{title}"', f".is_sgd = {int(is_sgd)}", f".{'sgd' if is_sgd else 'adam'} = {{{values}}}"]
    fields.append(f".start = {c_tables.numbers(item['start'])}")
    for key in ("gradients", "after"):
        fields.append(f".{key} = {{" + ",\n      ".join(c_tables.numbers(step) for step in item[key]) + "}")
    return "    {" + ",\n     ".join(fields) + "}"


def write(plural, kind, include, type_text, items, what):
    body = f"{include}\n\n{type_text}\nstatic const pinned_{kind} pinned_{plural}[] = {{\n" + ",\n".join(items) + "};\n"
    c_tables.write_header(
        f"pinned_{plural}.h",
        f"What PyTorch {torch.__version__.split('+')[0]} gives on small seeded data: {what}. Written by"
        " scripts/make_training_op_fixtures.py.",
        body)


def main():
    generator = torch.Generator().manual_seed(20)
    kinds = ", ".join(f"{number}: {kind}" for number, kind in enumerate(KINDS))
    write("losses", "loss", "#include <stdint.h>", LOSS_TYPE % (ROWS, CLASSES, kinds), map(loss_text, losses(generator)),
          "losses and their gradients in float64 from float32 inputs")
    write("optimizers", "optimizer", '#include "ckernels.h"', OPTIMIZER_TYPE % (COUNT, STEPS),
          map(optimizer_text, optimizers(generator)), "parameters after each step of an optimizer in float32")


if __name__ == "__main__":
    main()
