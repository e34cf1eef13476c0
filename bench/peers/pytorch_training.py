"""PyTorch training steps: eager and compiled, contiguous and channels_last; fp32, SGD with momentum and weight decay.

A step is what a training loop does with a batch that is in memory already: gradients cleared, forward, cross-entropy,
backward, update. With a frozen backbone the features are computed without gradients and in inference mode, and only fc
learns.
"""

import torch

from peers.base import Peer
from peers.pytorch_eager import require_fp32
from referee import networks

SEED = 20250102
LEARNING_RATE = 0.01


def build(model):
    torch.manual_seed(SEED)
    if model.startswith("cifar_resnet"):
        n = (int(model.removeprefix("cifar_resnet")) - 2) // 6
        return networks.restatements().CIFARResNet((n, n, n))
    return networks.create(model)


class Step(torch.nn.Module):
    """Loss of a batch; with `frozen` the backbone is apart from the head."""

    def __init__(self, network, frozen):
        super().__init__()
        self.frozen = frozen
        self.head = network.fc if frozen else torch.nn.Identity()
        if frozen:
            network.fc = torch.nn.Identity()
            network.requires_grad_(False)
        self.network = network

    def forward(self, pictures, labels):
        if self.frozen:
            with torch.no_grad():
                features = self.network(pictures)
        else:
            features = self.network(pictures)
        return torch.nn.functional.cross_entropy(self.head(features), labels)


class PyTorchTraining(Peer):
    compiled = False
    layout = torch.contiguous_format

    def load(self, job):
        require_fp32()
        torch.set_num_threads(job["threads"])
        self.batch, frozen = job["batch"], job["freeze"] == "allButHead"
        network = build(job["model"])
        classes = networks.NETWORKS[job["model"]].classes if job["model"] in networks.NETWORKS else 10
        step = Step(network, frozen).to(memory_format=self.layout).train()
        if frozen:
            step.network.eval()
        parameters = [p for p in step.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
        self.step = torch.compile(step, dynamic=False) if self.compiled else step
        generator = torch.Generator().manual_seed(SEED)
        pictures = torch.randn(self.batch, 3, job["size"], job["size"], generator=generator)
        self.pictures = pictures.to(memory_format=self.layout)
        self.labels = torch.randint(classes, (self.batch,), generator=generator)

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = self.step(self.pictures, self.labels)
        self.loss.backward()
        self.optimizer.step()

    def losses(self, steps):
        """Losses of the first steps after loading."""
        values = []
        for _ in range(steps):
            self.run()
            values.append(self.loss.item())
        return values

    def note(self):
        return torch.backends.cpu.get_cpu_capability()


class EagerContiguous(PyTorchTraining):
    pass


class EagerChannelsLast(PyTorchTraining):
    layout = torch.channels_last


class CompiledContiguous(PyTorchTraining):
    compiled = True


class CompiledChannelsLast(PyTorchTraining):
    compiled = True
    layout = torch.channels_last
