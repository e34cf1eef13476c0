"""PyTorch without a compiler: BN folded, channels_last, inference_mode.

Three ways a user can get there are tried on the machine and the fastest is kept:
    eager       torch.fx folds BN into the convolutions; channels_last weights and pictures
    torchscript torch.jit.freeze and optimize_for_inference: oneDNN's own weight layout, fused ReLU and add
    torchscript channels_last
"""

import warnings

import torch

from peers.base import Peer, as_logits, best_of
from referee import networks

warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


def load_network(job):
    """The module with the shared weights, ready for inference."""
    from safetensors.torch import load_file

    torch.set_num_threads(job["threads"])
    torch.set_grad_enabled(False)
    with torch.device("meta"):
        network = networks.create(job["model"])
    network.load_state_dict(load_file(f"{job['folder']}/weights.safetensors"), assign=True)
    return network.eval()


def require_fp32():
    """oneDNN may not round products to bf16 or TF32 behind the user's back."""
    torch.set_float32_matmul_precision("highest")
    if torch.get_float32_matmul_precision() != "highest":
        raise RuntimeError("PyTorch refuses full fp32 precision")


class PyTorchEager(Peer):
    def load(self, job):
        require_fp32()
        torch.set_num_threads(job["threads"])
        self.batch = job["batch"]
        self.last = torch.channels_last
        pictures = torch.zeros(self.batch, 3, job["size"], job["size"])
        if job.get("start"):
            # The quickest start: no module, no tracing, no trials.
            module = torch.jit.freeze(torch.jit.load(f"{job['folder']}/traced.pt"))
            self.chosen, self.network, self.format = "torchscript", module, torch.contiguous_format
        else:
            self.choose(job, pictures)
        self.pictures = pictures.to(memory_format=self.format)

    def choose(self, job, pictures):
        from torch.fx.experimental.optimization import fuse

        network = load_network(job)

        def script(layout):
            source = pictures.to(memory_format=layout)
            frozen = torch.jit.freeze(torch.jit.trace(network.to(memory_format=layout), source))
            return torch.jit.optimize_for_inference(frozen), layout

        ways = {
            "torchscript": script(torch.contiguous_format),
            "torchscript channels_last": script(self.last),
            "eager": (fuse(network).to(memory_format=self.last), self.last),
        }

        def runner(module, layout):
            source = pictures.to(memory_format=layout)

            def run():
                with torch.inference_mode():
                    module(source)

            return run

        self.chosen, _ = best_of([(name, runner(*way)) for name, way in ways.items()])
        self.network, self.format = ways[self.chosen]

    def set_input(self, pictures):
        self.pictures.copy_(torch.from_numpy(pictures))

    def run(self):
        with torch.inference_mode():
            self.output = self.network(self.pictures)

    def logits(self):
        return as_logits(self.output.numpy(), self.batch)

    def note(self):
        return f"{self.chosen}, {torch.backends.cpu.get_cpu_capability()}"
