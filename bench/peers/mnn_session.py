"""MNN through its session interface: CPU, precision high (true fp32), shapes fixed beforehand.

A session plans its input's memory for reuse within the run, so the pictures are copied in anew each time.
"""

import MNN
import numpy as np

from peers.base import Peer, as_logits


class MnnSession(Peer):
    def load(self, job):
        self.batch = job["batch"]
        self.interpreter = MNN.Interpreter(f"{job['folder']}/model.mnn")
        self.session = self.interpreter.createSession(
            {"backend": "CPU", "precision": "high", "numThread": job["threads"]}
        )
        self.pictures = self.interpreter.getSessionInput(self.session)
        self.interpreter.resizeTensor(self.pictures, (self.batch, 3, job["size"], job["size"]))
        self.interpreter.resizeSession(self.session)
        self.output = self.interpreter.getSessionOutput(self.session)

    def set_input(self, pictures):
        self.host = MNN.Tensor(pictures.shape, MNN.Halide_Type_Float, pictures, MNN.Tensor_DimensionType_Caffe)

    def run(self):
        self.pictures.copyFrom(self.host)
        self.interpreter.runSession(self.session)

    def logits(self):
        shape = self.output.getShape()
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe)
        self.output.copyToHostTensor(host)
        return as_logits(np.array(host.getNumpyData()), self.batch)

    def note(self):
        return "precision high"
