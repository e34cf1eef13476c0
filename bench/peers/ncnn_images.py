"""ncnn, one thread an image and as many images at a time as there are threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from peers.ncnn_threads import NcnnThreads, infer, load_net


class NcnnImages(NcnnThreads):
    def load(self, job):
        self.threads = job["threads"]
        self.net, self.pools = load_net(job, 1)
        self.output = np.zeros((job["batch"], job["classes"]), np.float32)
        self.pool = ThreadPoolExecutor(self.threads)

    def share(self, first):
        for index in range(first, len(self.pictures), self.threads):
            infer(self.net, self.pictures[index], self.output[index])

    def run(self):
        list(self.pool.map(self.share, range(self.threads)))

    def note(self):
        return "Winograd, packing, sgemm, fp32; an image a thread"
