"""ONNX Runtime, CPU execution provider: all graph optimizations, static batch, input and output bound beforehand.

Spinning stays on, as it is by default: it is part of its speed. The worker waits afterwards until the threads sleep.
"""

import numpy as np
import onnxruntime as ort

from peers.base import Peer, as_logits


class OnnxRuntime(Peer):
    def load(self, job):
        self.batch = job["batch"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = job["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_free_dimension_override_by_name("batch", self.batch)
        self.session = ort.InferenceSession(f"{job['folder']}/model.onnx", options, providers=["CPUExecutionProvider"])
        shapes = [self.batch, 3, job["size"], job["size"]], [self.batch, job["classes"]]
        self.pictures, self.output = (
            ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu") for shape in shapes
        )
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", self.pictures)
        self.binding.bind_ortvalue_output("logits", self.output)

    def set_input(self, pictures):
        self.pictures.update_inplace(pictures)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def logits(self):
        return as_logits(self.output.numpy(), self.batch)

    def note(self):
        return "CPU, all graph optimizations, bound buffers"
