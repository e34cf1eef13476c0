"""Other libraries in the same process: what they bring as arrays, and their OpenMP."""

import importlib.util
import io
import os
import subprocess
import sys
import unittest

import numpy as np

import resnetswift as rs
from support import DIGITS, PICTURES, random_input


def has(module):
    return importlib.util.find_spec(module) is not None


class Neighbors(unittest.TestCase):
    @unittest.skipUnless(has("torch"), "needs torch")
    def test_torch_tensors_are_used_where_they_lie(self):
        import torch

        net, x = rs.load(DIGITS), random_input(4)
        wanted = net.predict(x)
        tensor = torch.from_numpy(x)
        np.testing.assert_array_equal(net.predict(tensor), wanted)
        np.testing.assert_array_equal(net.predict(tensor.clone().requires_grad_()), wanted)
        from resnetswift._pictures import as_array
        self.assertEqual(as_array(tensor).ctypes.data, tensor.data_ptr())
        with self.assertRaises((TypeError, BufferError)):
            net.predict(tensor.to(torch.bfloat16))

    @unittest.skipUnless(has("PIL"), "needs Pillow")
    def test_pillow(self):
        from PIL import Image

        net = rs.load(DIGITS)
        images = [Image.open(p) for p in PICTURES]
        self.assertEqual(net.classify(images), net.classify(PICTURES))
        self.assertEqual(net.classify(images[0].convert("RGB"))[0].name, net.classify(PICTURES[0])[0].name)

    @unittest.skipUnless(has("PIL"), "needs Pillow")
    def test_pillow_s_kinds_of_pictures_are_those_of_files(self):
        from PIL import Image

        gray = np.asarray(Image.open(PICTURES[0]))
        deep = Image.fromarray(gray.astype(np.uint16) * 256 + np.random.default_rng(1).integers(0, 256, gray.shape, np.uint16))
        kinds = [deep, Image.fromarray(gray.astype(np.float32)), Image.fromarray(gray.astype(np.int32)),
                 Image.fromarray(gray > 99), Image.merge("LA", [Image.fromarray(gray)] * 2), Image.fromarray(gray).convert("P")]
        upright = Image.Exif()
        upright[0x0112] = 6  # turned by 90 degrees
        for applied in ["apply", "ignore"]:
            net = rs.load(DIGITS)
            net = rs.load(DIGITS, transform={**net.transform, "exif": applied})
            for image in kinds:
                file = io.BytesIO()
                image.save(file, "TIFF" if image.mode in "IF" else "PNG", exif=upright)
                np.testing.assert_array_equal(net.read(Image.open(file)), net.read(file.getvalue()), image.mode)
        for image in [Image.new("I", (9, 9), 256), Image.new("F", (9, 9), -1), Image.new("F", (9, 9), float("nan"))]:
            with self.assertRaisesRegex(ValueError, "from 0 to 255"):
                net.read(image)

    @unittest.skipUnless(has("torch") and has("sklearn"), "needs torch and scikit-learn")
    def test_any_order_of_imports(self):
        code = """
import sys, numpy as np
def torch_():
    global torch
    import torch
    torch.set_num_threads(2)
    torch.randn(300, 300) @ torch.randn(300, 300)
def sklearn_():
    from sklearn.cluster import KMeans
    KMeans(3, n_init=1).fit(np.random.default_rng(1).standard_normal((500, 5)))
def ours():
    import resnetswift as rs
    net = rs.load(sys.argv[1], threads=2)
    x = np.random.default_rng(4).standard_normal((4, 1, 32, 32), np.float32)
    results.append(net.predict(x))
results = []
for step in sys.argv[2].split(","):
    globals()[step]()
assert len({r.tobytes() for r in results}) == 1
print(results[0].tobytes().hex())
"""
        orders = ["torch_,sklearn_,ours,torch_,sklearn_,ours", "ours,sklearn_,torch_,ours"]
        found = set()
        for order in orders:
            done = subprocess.run(
                [sys.executable, "-c", code, DIGITS, order], capture_output=True, text=True, timeout=120,
                env={**os.environ, "OMP_NUM_THREADS": "2"})
            self.assertEqual(done.returncode, 0, done.stderr)
            found.add(done.stdout)
        self.assertEqual(len(found), 1)


if __name__ == "__main__":
    unittest.main()
