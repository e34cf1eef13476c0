"""Networks, parameters and batches on which gradients are compared with PyTorch's, for fixtures and for the live check.

Gradients of a random network are no well-posed thing to compare: where a ReLU's input is within rounding of zero, the mask
is either, and with 32 values a channel one such place changes a gradient by more than a hundredth. PyTorch in float32 then
differs from PyTorch in float64 by 20 % of the largest entry (ResNet-50, 64x64, batch 8). So each channel's bias before a ReLU
is moved by up to eight hundredths to where no value lies near zero (`Case.prepare`); what the moves are is part of the case.
And residual branches are small, as in trained networks, so that gradients do not grow from block to block. DaViT and
ConvNeXt have neither ReLUs nor maxima: nothing is moved, and their bound is ten times as tight.
"""

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

import counter_random
import torch_models


MOVE = np.float32(0.01)
MOST_MOVES = 8


class Case:
    """`rates` of SGD and Adam are such that ten steps change the loss by much, but do not blow rounding errors up.
    Of `seeds` the live check takes the one with the widest margin. `bound` is of each tensor's largest entry."""

    def __init__(
            self, name, size, images, make=None, classes=1000, binary=False, rates=(1e-3, 2e-5), seeds=3, bound=1e-3,
            optimizers=("sgd", "adam")):
        self.name, self.size, self.images, self.classes, self.binary = name, size, images, classes, binary
        self.seeds, self.bound = seeds, bound
        self.rates = dict(zip(optimizers, rates))
        self.make = make or getattr(torchvision.models, name)

    def prepare(self, seed):
        """Parameters, the moves among them, pictures and margin: how far the nearest decision of the forward pass, the sign
        of a ReLU's input or the maximum of a pool, is from being another, in root mean squares of its map."""
        self.pictures = torch.from_numpy(counter_random.pictures(self.images, 3, self.size, self.size, seed))
        model = fill(self.make()).double().train()
        self.moves = {name: np.zeros(len(value), np.int8) for name, value in model.named_parameters() if is_bias(name)}
        self.margin = np.inf
        before = []

        def look(module, inputs):
            x = inputs[0].detach()
            if isinstance(module, nn.MaxPool2d):
                self.note(pool_gap(x, module), x)
            elif isinstance(module, nn.ReLU):
                moves = best_moves(x)
                name, layer = before[-1]
                moved = move(layer.bias.data, moves)
                change = (moved - layer.bias.data).view(-1, *[1] * (x.dim() - 2))
                layer.bias.data = moved
                self.moves[name + ".bias"] = moves.numpy().astype(np.int8)
                self.note((x + change).abs().min(), x)
                return (x + change,)

        for name, module in model.named_modules():
            if getattr(module, "bias", None) is not None:
                module.register_forward_hook(lambda layer, _, __, name=name: before.append((name, layer)))
            elif isinstance(module, (nn.ReLU, nn.MaxPool2d)):
                module.register_forward_pre_hook(look)
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
        with torch.no_grad():
            model(self.pictures.double())
        return self

    def note(self, gap, x):
        self.margin = min(self.margin, (gap / x.square().mean().sqrt()).item())

    def model(self):
        """In float64 and training mode, without dropout, whose random numbers are nobody else's."""
        model = fill(self.make()).double().train()
        for name, value in model.named_parameters():
            if is_bias(name):
                value.data = move(value.data, torch.from_numpy(self.moves[name]))
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return model

    def labels(self):
        index = torch.arange(self.images)
        return (index % 2).double()[:, None] if self.binary else (7 * index + 3) % self.classes

    def loss(self, logits):
        if self.binary:
            return functional.binary_cross_entropy_with_logits(logits, self.labels().to(logits.dtype))
        return functional.cross_entropy(logits, self.labels())


def fill(model):
    """counter_random's values, but the last batch norm of each residual block has a fifth of them as weights."""
    for block in counter_random.fill(model).modules():
        if isinstance(block, (BasicBlock, Bottleneck)):
            last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
            last.weight.data *= 0.2
    return model


def is_bias(name):
    return name.endswith(".bias")


def move(bias, moves):
    """In float32, as the Swift tests do it."""
    return (bias.float() + torch.tensor(MOVE) * moves.float()).double()


def best_moves(x):
    """By channel of x (N, C, ...): the move that leaves the most room around zero."""
    rows = x.transpose(0, 1).flatten(1)
    moves = torch.arange(-MOST_MOVES, MOST_MOVES + 1)
    rooms = torch.stack([(rows + float(MOVE) * int(m)).abs().amin(1) for m in moves])
    return moves[rooms.argmax(0)]


def pool_gap(x, pool):
    kernel, stride, pad = pool.kernel_size, pool.stride, pool.padding
    x = functional.pad(x, [pad, pad + kernel - 1] * 2, value=-np.inf)
    top = x.unfold(2, kernel, stride).unfold(3, kernel, stride).flatten(4).topk(2, 4).values
    gaps = top[..., 0] - top[..., 1]
    # Zeros that ReLUs have left tie everywhere alike and pass nothing on. Places of a small map that saw the same maxima
    # before have the very same value: the first of them wins, everywhere.
    return gaps[(top[..., 0] > 0) & (gaps > 0)].min()


def smooth(name, size, make, **settings):
    return Case(name, size, 2, make, rates=(2e-5,), seeds=1, bound=1e-4, optimizers=("adamw",), **settings)


def keras_davit():
    """As keras_cv_attention_models builds it for pictures of 280x280."""
    return timm.create_model("davit_tiny", num_classes=1, window_size=9, head_norm_first=True)


def in_order(names):
    """As the Swift graphs have them: a ConvNeXt's layer scale stands where it is used, at the end of its block."""
    names = list(names)
    for gamma in [name for name in names if name.endswith(".gamma")]:
        block = gamma.removesuffix("gamma")
        names.remove(gamma)
        names.insert(max(i for i, name in enumerate(names) if name.startswith(block)) + 1, gamma)
    return names


PINNED = [
    Case("resnet18", 64, 8, rates=(5e-3, 1e-4)),
    Case("resnet50", 64, 8),
    Case("cifar_resnet20", 32, 8, torch_models.CIFARResNet, classes=10, rates=(5e-3, 1e-4)),
    Case("resnext50_32x4d", 64, 8),
    Case("wide_resnet50_2", 64, 8),
    Case("googlenet", 75, 2, torch_models.GoogLeNet, classes=1, binary=True, rates=(1e-5, 2e-6)),
    Case("alexnet_mini", 139, 2, lambda: torch_models.AlexNetMini(input_size=(139, 139)), classes=1, binary=True,
         rates=(3e-6, 2e-6)),
    smooth("davit_tiny", 75, lambda: timm.create_model("davit_tiny")),
    smooth("convnext_tiny", 64, lambda: timm.create_model("convnext_tiny")),
]

# Where a pool has several maxima within rounding, no bias can part them: the fewer windows and the more seeds, the better.
LIVE = [
    Case("resnet18", 224, 4, rates=(5e-3, 1e-4)),
    Case("resnet50", 224, 4),
    Case("cifar_resnet20", 32, 64, torch_models.CIFARResNet, classes=10, rates=(5e-3, 1e-4)),
    Case("resnext50_32x4d", 224, 4),
    Case("wide_resnet50_2", 224, 4),
    Case("googlenet", 139, 2, torch_models.GoogLeNet, classes=1, binary=True, rates=(1e-5, 2e-6), seeds=16),
    Case("alexnet_mini", 280, 2, torch_models.AlexNetMini, classes=1, binary=True, rates=(3e-6, 2e-6), seeds=16),
    smooth("davit_tiny", 224, lambda: timm.create_model("davit_tiny")),
    smooth("davit_tiny_keras", 280, keras_davit, classes=1, binary=True),
    smooth("convnext_tiny", 224, lambda: timm.create_model("convnext_tiny")),
]


def step(case, dtype=torch.float64):
    """Loss, gradients and running statistics of one pass: a number and two dictionaries of float64."""
    model = case.model().to(dtype)
    loss = case.loss(model(case.pictures.to(dtype)))
    loss.backward()
    gradients = {name: value.grad.double().numpy() for name, value in model.named_parameters()}
    gradients = {name: gradients[name] for name in in_order(gradients)}
    statistics = {name: value.double().numpy() for name, value in model.named_buffers() if "running" in name}
    return loss.item(), gradients, statistics


def worst(found, wanted):
    """The largest difference in any tensor, relative to that tensor's largest value, and the tensor's name."""
    errors = [(np.abs(found[name] - value).max() / np.abs(value).max(), name) for name, value in wanted.items()]
    return max((np.inf if np.isnan(error) else error, name) for error, name in errors)


def optimizer(name, parameters, rate):
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=5e-4)
    if name == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=0.05)
    return torch.optim.Adam(parameters, rate, weight_decay=1e-4)


def losses(case, name, steps=10, dtype=torch.float64):
    """Losses before each of ten steps on the same batch."""
    model = case.model().to(dtype)
    update = optimizer(name, model.parameters(), case.rates[name])
    pictures = case.pictures.to(dtype)
    found = []
    for _ in range(steps):
        loss = case.loss(model(pictures))
        update.zero_grad()
        loss.backward()
        update.step()
        found.append(loss.item())
    return np.array(found)
