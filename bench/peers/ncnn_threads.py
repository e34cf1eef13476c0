"""ncnn, all threads on one image after the other: Winograd, packing and sgemm on, no fp16, bf16 or int8.

ncnn has no batch dimension. Buffers come from its pool allocators, so a run allocates nothing after the first.
"""

import ncnn
import numpy as np

from peers.base import Peer


def load_net(job, threads):
    net = ncnn.Net()
    option = net.opt
    option.num_threads = threads
    option.use_vulkan_compute = False
    option.lightmode = True
    for name in (
        "winograd_convolution",
        "winograd23_convolution",
        "winograd43_convolution",
        "winograd63_convolution",
        "sgemm_convolution",
        "packing_layout",
    ):
        setattr(option, f"use_{name}", True)
    for name in (
        "fp16_packed",
        "fp16_storage",
        "fp16_arithmetic",
        "bf16_packed",
        "bf16_storage",
        "int8_inference",
        "int8_packed",
        "int8_storage",
        "int8_arithmetic",
    ):
        setattr(option, f"use_{name}", False)
    pools = ncnn.PoolAllocator(), ncnn.PoolAllocator()
    option.blob_allocator, option.workspace_allocator = pools
    if net.load_param(f"{job['folder']}/ncnn.param") or net.load_model(f"{job['folder']}/ncnn.bin"):
        raise RuntimeError("ncnn cannot load the network")
    return net, pools


def infer(net, picture, out):
    extractor = net.create_extractor()
    extractor.input("in0", picture)
    status, result = extractor.extract("out0")
    if status:
        raise RuntimeError(f"ncnn extract returned {status}")
    out[:] = np.array(result)


class NcnnThreads(Peer):
    def load(self, job):
        self.net, self.pools = load_net(job, job["threads"])
        self.output = np.zeros((job["batch"], job["classes"]), np.float32)

    def set_input(self, pictures):
        self.arrays = [np.ascontiguousarray(picture) for picture in pictures]
        self.pictures = [ncnn.Mat(array) for array in self.arrays]

    def run(self):
        for picture, out in zip(self.pictures, self.output):
            infer(self.net, picture, out)

    def logits(self):
        return self.output

    def note(self):
        return "Winograd, packing, sgemm, fp32; image after image"
