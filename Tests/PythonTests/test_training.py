import pathlib
import subprocess
import tempfile
import unittest
import warnings

import numpy as np

import resnetswift as rs
from resnetswift import _tool
from support import DIGITS, ROOT

DATA = ROOT / "demo" / "digits.npz"
OPTIONS = dict(model="cifar_resnet14", lr=0.05, verbose=False, threads=1)


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.records = []
        cls.run_ = rs.train(
            small_data(cls.folder.name), out=f"{cls.folder.name}/run", epochs=3, callback=cls.records.append, **OPTIONS)

    def test_the_callback_hears_of_every_epoch_once(self):
        self.assertEqual([r["epoch"] for r in self.records], [1, 2, 3])
        self.assertEqual(self.records, self.run_.history)
        self.assertLess(self.records[-1]["train"]["loss"], self.records[0]["train"]["loss"])

    def test_the_run_is_usable(self):
        self.assertTrue(self.run_.is_finished)
        self.assertEqual(self.run_.evaluation.confusion.shape, (10, 10))
        self.assertEqual(self.run_.load().model, "cifar_resnet14")
        scores = rs.evaluate(small_data(self.folder.name), self.run_, held_out=True)
        self.assertEqual(scores.top1, self.run_.evaluation.top1)
        self.assertEqual(scores.confusion.sum(), self.run_.evaluation.confusion.sum())
        right = np.trace(scores.confusion) / scores.confusion.sum()
        self.assertAlmostEqual(right, scores.top1)
        self.assertAlmostEqual(np.mean([c["f1"] for c in scores.classes]), scores.macro_f1)

    def test_a_callback_may_stop_it_and_it_goes_on(self):
        out, seen = f"{self.folder.name}/stopped", []

        def stop(record):
            seen.append(record["epoch"])
            if len(seen) == 1:
                raise rs.StopTraining

        data = small_data(self.folder.name)
        run = rs.train(data, out=out, epochs=3, callback=stop, **OPTIONS)
        self.assertFalse(run.is_finished)
        done = len(run.history)
        self.assertEqual(seen, [1])
        run = rs.train(data, out=out, epochs=3, resume=True, callback=stop, **OPTIONS)
        self.assertTrue(run.is_finished)
        self.assertEqual(seen, [1, *range(done + 1, 4)])
        self.assertEqual([r["train"] for r in run.history], [r["train"] for r in self.run_.history], "as if never stopped")

    def test_a_network_is_evaluated_with_its_options(self):
        net = rs.load(DIGITS, tta="flip", threads=1)
        path, size = pathlib.Path(self.folder.name) / "few.npz", 40
        with np.load(DATA) as arrays:
            x, labels = arrays["x_train"][:size], arrays["y_train"][:size]
        np.savez(path, x_train=x, y_train=labels)
        for tta in ["flip", "none"]:
            logits = net.predict(x.reshape(size, *[side for side in x.shape[1:] if side > 1], 1), tta=tta).astype(float)
            likely = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            scores = rs.evaluate(path, net) if tta == net.tta else rs.evaluate(path, net, tta=tta)
            self.assertAlmostEqual(scores.loss, -likely[np.arange(size), labels.ravel()].mean(), places=4)
            self.assertEqual(scores.top1, (logits.argmax(1) == labels.ravel()).mean())

    def test_an_error_of_the_callback_comes_out(self):
        with self.assertRaises(ZeroDivisionError):
            rs.train(small_data(self.folder.name), out=f"{self.folder.name}/error", epochs=2,
                     callback=lambda record: 1 / 0, **OPTIONS)

    def test_refusals_are_the_program_s_sentences(self):
        for call in [lambda: rs.train("/nowhere", **OPTIONS), lambda: rs.train(DATA, colour=3, **OPTIONS),
                     lambda: rs.train(DATA, model="resnet51", verbose=False),
                     lambda: rs.evaluate("/nowhere", DIGITS), lambda: rs.evaluate(DATA, "/nowhere.npz")]:
            with self.assertRaises(rs.ResNetError) as caught, tempfile.TemporaryDirectory() as folder:
                call()
            self.assertNotIn("resnet: error", str(caught.exception))
            self.assertGreater(len(str(caught.exception)), 15)


class Options(unittest.TestCase):
    def test_spelling(self):
        self.assertEqual(
            _tool.arguments({"layer_decay": 0.5, "flip": True, "resume": False, "lr": None, "crop": (0.5, 1),
                             "out": pathlib.Path("a b"), "prefix": "-x"}),
            ["--layer-decay=0.5", "--flip", "--crop=0.5,1", "--out=a b", "--prefix=-x"])

    def test_skipped_pictures(self):
        with self.assertRaises(rs.ResNetError):
            _tool._judge(2, ["resnet: error: a.png: expected a picture"], False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _tool._judge(2, ["resnet: warning: skipped: a.png"], True)
        self.assertIn("a.png", str(caught[0].message))


def small_data(folder):
    """300 of the digits."""
    path = pathlib.Path(folder) / "digits.npz"
    if not path.exists():
        with np.load(DATA) as arrays:
            np.savez(path, **{k: v[:300] if len(v) > 300 else v for k, v in arrays.items()})
    return path


if __name__ == "__main__":
    unittest.main()
