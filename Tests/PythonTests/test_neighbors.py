"""Other libraries in the same process: what they bring as arrays, and their OpenMP."""

import importlib.util
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


@unittest.skipUnless(has("sklearn"), "needs scikit-learn")
class ScikitLearn(unittest.TestCase):
    def setUp(self):
        self.paths = np.array([str(p) for p in PICTURES])
        self.labels = np.array([p.name.split("_")[0] for p in PICTURES])

    def test_features(self):
        from sklearn.base import clone

        features = rs.ResNetFeatures(DIGITS, threads=1)
        h = features.fit_transform(self.paths)
        np.testing.assert_array_equal(h, rs.load(DIGITS, threads=1).embed(list(self.paths)))
        self.assertEqual(len(features.get_feature_names_out()), h.shape[1])
        self.assertEqual(clone(features).get_params(), features.get_params())
        with self.assertRaises(Exception):
            clone(features).transform(self.paths)  # not fitted

    def test_classifier_in_a_search_and_as_a_pickle(self):
        import pickle

        from sklearn.model_selection import cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import SVC

        model = rs.ResNetClassifier(DIGITS)
        scores = cross_val_score(model, self.paths, self.labels, cv=2)
        self.assertGreater(scores.mean(), 0.8)
        model.fit(self.paths, self.labels)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_allclose(again.predict_proba(self.paths), model.predict_proba(self.paths))
        self.assertEqual(model.score(self.paths, self.labels), 1)
        self.assertEqual(list(model.classes_), sorted(set(self.labels)))
        pipeline = make_pipeline(rs.ResNetFeatures(DIGITS), SVC())
        self.assertEqual(pipeline.fit(self.paths, self.labels).score(self.paths, self.labels), 1)
        svm = rs.ResNetClassifier(DIGITS, head=SVC()).fit(self.paths, self.labels)
        self.assertEqual(svm.decision_function(self.paths).shape, (20, 10))


if __name__ == "__main__":
    unittest.main()
