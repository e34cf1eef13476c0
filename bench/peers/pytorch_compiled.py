"""torch.compile: inductor with frozen weights, C++ kernels from the machine's compiler, static shapes.

Pictures in channels_last and contiguous are both tried and the faster is kept (freezing lays the weights out itself).
"""

import torch
import torch._inductor.config as inductor

from peers.base import Peer, as_logits, best_of
from peers.pytorch_eager import load_network, require_fp32


class PyTorchCompiled(Peer):
    def load(self, job):
        require_fp32()
        self.batch = job["batch"]
        shape = self.batch, 3, job["size"], job["size"]
        inductor.freezing = True
        if job["isa"] == "avx2":
            inductor.cpp.simdlen = 256
        network = load_network(job).to(memory_format=torch.channels_last)
        compiled = torch.compile(network, dynamic=False)
        layouts = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
        self.chosen = "channels_last"
        if not job.get("start"):

            def runner(layout):
                source = torch.zeros(shape).to(memory_format=layout)

                def run():
                    with torch.inference_mode():
                        compiled(source)

                return run

            self.chosen, _ = best_of([(name, runner(layout)) for name, layout in layouts.items()])
        self.network = compiled
        self.pictures = torch.zeros(shape).to(memory_format=layouts[self.chosen])

    def set_input(self, pictures):
        self.pictures.copy_(torch.from_numpy(pictures))

    def run(self):
        with torch.inference_mode():
            self.output = self.network(self.pictures)

    def logits(self):
        return as_logits(self.output.numpy(), self.batch)

    def note(self):
        return f"inductor, frozen, {self.chosen}, {torch.backends.cpu.get_cpu_capability()}"
