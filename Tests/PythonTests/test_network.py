import array
import concurrent.futures
import copy
import io
import mmap
import multiprocessing
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock

import numpy as np

import resnetswift as rs
from support import DIGITS, PICTURES, random_input, softmax, tensors

shared = None  # a network that forked children find


def predict_shared(x):
    return shared.predict(x)


def predict_with(net, x):
    return net.predict(x)


class Running(unittest.TestCase):
    def setUp(self):
        self.net = rs.load(DIGITS)

    def test_describes_itself(self):
        about = self.net.describe()
        self.assertEqual(about["model"], "cifar_resnet8")
        self.assertEqual((about["classes"], about["features"], about["channels"]), (10, 64, 1))
        self.assertEqual(about["input_size"], (32, 32))
        self.assertEqual(about["class_names"][:2], ["zero", "one"])
        self.assertIn("cifar_resnet8", repr(self.net))
        self.assertIn("conv1", self.net.plan())

    def test_logits_are_the_last_layer_of_the_embedding(self):
        x, values = random_input(11), tensors(DIGITS)
        h, logits = self.net.embed(x), self.net.predict(x)
        self.assertEqual((h.shape, logits.shape), ((11, 64), (11, 10)))
        np.testing.assert_allclose(h @ values["fc.weight"].T + values["fc.bias"], logits, atol=1e-4)

    def test_classify_agrees_with_predict(self):
        """The pictures as the transform makes them: 32x32 and gray already, (byte / 255 - 0.5) / 0.5."""
        pixels = [read_png(path) for path in PICTURES]
        x = np.stack([(np.float32(p)[None] / 255 - 0.5) / 0.5 for p in pixels])
        wanted = softmax(self.net.predict(x).astype(float))
        for given in [[str(p) for p in PICTURES], PICTURES, [p.read_bytes() for p in PICTURES], pixels,
                      np.stack(pixels)[..., None]]:
            scores = self.net.classify(given, top=10)
            found = np.zeros_like(wanted)
            for row, picture in zip(found, scores):
                self.assertEqual([s.probability for s in picture], sorted((s.probability for s in picture), reverse=True))
                for score in picture:
                    row[score.index] = score.probability
                    self.assertEqual(score.name, self.net.class_names[score.index])
            np.testing.assert_allclose(found, wanted, atol=1e-4)
        right = [s[0].name == p.name.split("_")[0] for s, p in zip(scores, PICTURES)]
        self.assertGreaterEqual(sum(right), 18)
        np.testing.assert_allclose(self.net.embed(PICTURES), self.net.embed(x), atol=1e-4)
        np.testing.assert_allclose(self.net.predict(PICTURES), self.net.predict(x), atol=1e-4)
        np.testing.assert_allclose(self.net.read(PICTURES), x, atol=1e-6)

    def test_what_the_weights_say(self):
        np.testing.assert_allclose([self.net.mean, self.net.std], [[0.5], [0.5]], rtol=1e-6)
        self.assertEqual([s["step"] for s in self.net.transform["steps"]], ["resize", "toFloat", "normalize"])
        self.assertIsNone(self.net.thresholds)
        named = rs.load(DIGITS, class_names=[f"digit {i}" for i in range(10)], transform=self.net.transform)
        self.assertEqual(named.classify(PICTURES[0])[0].index, self.net.classify(PICTURES[0])[0].index)
        self.assertTrue(named.classify(PICTURES[0])[0].name.startswith("digit "))

    def test_explains(self):
        logits, bias = self.net.predict(PICTURES[0]), tensors(DIGITS)["fc.bias"]
        pixels = read_png(PICTURES[0])
        with tempfile.TemporaryDirectory() as folder:
            heat = pathlib.Path(folder) / "heat.png"
            found = self.net.explain(PICTURES[0], out=heat)
            self.assertTrue(heat.read_bytes().startswith(b"\x89PNG"))
        self.assertEqual((found.name, found.index), (self.net.class_names[logits.argmax()], logits.argmax()))
        for given in [PICTURES[0].read_bytes(), pixels]:
            other = self.net.explain(given, "seven")
            self.assertEqual(other.name, "seven")
            self.assertAlmostEqual(other.logit, float(logits[other.index]), places=3)
            self.assertAlmostEqual(other.values.sum() + other.rest, other.logit, places=3)
            self.assertAlmostEqual(other.rest, float(bias[other.index]), places=4)
        named = rs.load(DIGITS, class_names=[f"digit {i}" for i in range(10)], transform=self.net.transform)
        self.assertEqual(named.explain(PICTURES[0], 3).name, "digit 3")
        for wrong in [lambda: self.net.explain(PICTURES), lambda: self.net.explain(PICTURES[0], "eleven"),
                      lambda: rs.load(DIGITS.read_bytes()).explain(PICTURES[0])]:
            with self.assertRaises((TypeError, ValueError, rs.ResNetError)):
                wrong()

    def test_means_over_views(self):
        """The transform keeps the demo's pictures as they are, so a view is the picture or its mirror image."""
        pixels = np.stack([read_png(path) for path in PICTURES])[..., None]
        x = (np.float32(pixels).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
        logits = (self.net.predict(x) + self.net.predict(x[..., ::-1])) / 2
        flipped = rs.load(DIGITS, tta="flip")
        self.assertEqual((flipped.tta, flipped.describe()["tta"], self.net.tta), ("flip", "flip", "none"))
        np.testing.assert_allclose(flipped.predict(PICTURES), logits, atol=1e-4)
        np.testing.assert_array_equal(self.net.predict(pixels, tta="flip"), flipped.predict(PICTURES))
        self.assertFalse(np.allclose(self.net.predict(PICTURES), logits, atol=1e-2))
        np.testing.assert_array_equal(flipped.predict(PICTURES, tta="none"), self.net.predict(PICTURES))
        h = (self.net.embed(x) + self.net.embed(x[..., ::-1])) / 2
        np.testing.assert_allclose(flipped.embed(PICTURES), h, atol=1e-4)
        np.testing.assert_array_equal(flipped.read(PICTURES), self.net.read(PICTURES))
        best = [scores[0] for scores in flipped.classify(PICTURES, top=1)]
        self.assertEqual([s.index for s in best], logits.argmax(1).tolist())
        np.testing.assert_allclose([s.probability for s in best], softmax(logits).max(1), atol=1e-4)
        self.assertEqual(self.net.classify(PICTURES[0], tta="flip"), flipped.classify(PICTURES[0]))
        again = pickle.loads(pickle.dumps(flipped))
        np.testing.assert_array_equal(again.predict(PICTURES), flipped.predict(PICTURES))
        again.threads = 1
        np.testing.assert_allclose(again.predict(PICTURES), logits, atol=1e-4)
        wrong = [
            (TypeError, lambda: flipped.predict(x)), (TypeError, lambda: self.net.embed(x, tta="flip")),
            (rs.ResNetError, lambda: rs.load(DIGITS, tta="flips")),
            (rs.ResNetError, lambda: self.net.classify(PICTURES[0], tta="five-crop"))]  # the transform does not crop
        for kind, call in wrong:
            with self.assertRaisesRegex(kind, "expected"):
                call()

    def test_pictures_that_cannot_be_read(self):
        pictures = [PICTURES[0], "/nowhere.png", b"no picture", PICTURES[1]]
        scores = self.net.classify(pictures, skip=True)
        self.assertEqual(scores[1:3], [None, None])
        self.assertEqual([scores[0], scores[3]], self.net.classify(PICTURES[:2]))
        h = self.net.embed(pictures, skip=True)
        self.assertEqual(np.isnan(h).all(1).tolist(), [False, True, True, False])

    def test_a_larger_picture_of_every_kind(self):
        """Resizing and transparency are the library's: all kinds must agree."""
        y, x = np.mgrid[0:50, 0:70]
        pixels = np.stack([x * 3, y * 5, (x * y) % 256], 2).astype(np.uint8)
        from resnetswift._pictures import png
        opaque = np.dstack([pixels, np.full((50, 70), 255, np.uint8)])
        wanted = self.net.predict(pixels)
        for given in [png(pixels), pixels[:, ::-1][:, ::-1], opaque, png(opaque)]:
            np.testing.assert_array_equal(self.net.predict(given), wanted)

    def test_open_files_and_what_has_a_buffer(self):
        path, pixels = PICTURES[0], read_png(PICTURES[0])
        wanted = self.net.predict(path)
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for given in [file, io.BytesIO(path.read_bytes()), memoryview(path.read_bytes()), bytearray(path.read_bytes()),
                          array.array("B", path.read_bytes()), memoryview(pixels), Interface(pixels)]:
                np.testing.assert_array_equal(self.net.predict(given), wanted)
            self.assertTrue(np.array_equal(self.net.predict([io.BytesIO(mapped), mapped]), [wanted, wanted]))
        for wrong in [io.StringIO("text"), {1}, {}]:
            with self.assertRaisesRegex(TypeError, "expected"):
                self.net.predict(wrong)

    def test_weights_from_memory_and_random_ones(self):
        x = random_input(2)
        from_memory = rs.load(DIGITS.read_bytes())
        np.testing.assert_array_equal(from_memory.predict(x), self.net.predict(x))
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(from_memory)).predict(x), self.net.predict(x))
        made = [rs.Network(model="cifar_resnet20", classes=7, seed=s) for s in (1, 1, 2)]
        y = [net.predict(random_input(2, channels=3)) for net in made]
        self.assertEqual(y[0].shape, (2, 7))
        np.testing.assert_array_equal(y[0], y[1])
        self.assertFalse(np.array_equal(y[0], y[2]))
        self.assertIn("resnet50", rs.models())

    def test_one_picture_gives_one_answer(self):
        one = self.net.classify(PICTURES[0], top=2)
        self.assertEqual(len(one), 2)
        self.assertIsInstance(one[0], rs.Score)
        self.assertEqual(one, self.net.classify([PICTURES[0]], top=2)[0])
        self.assertEqual(self.net.embed(PICTURES[0]).shape, (64,))
        self.assertEqual(self.net.predict(random_input(1)[0]).shape, (10,))

    def test_empty(self):
        self.assertEqual(self.net.predict(random_input(1)[:0]).shape, (0, 10))
        self.assertEqual(self.net.embed([]).shape, (0, 64))
        self.assertEqual(self.net.classify([]), [])

    def test_sizes_types_and_strides(self):
        for size in [32, 40, 48, 64, 32]:  # more sizes than are kept
            x = random_input(2, size)
            wanted = rs.load(DIGITS).predict(x)
            np.testing.assert_array_equal(self.net.predict(x), wanted)
            np.testing.assert_allclose(self.net.predict(x.astype(np.float64)), wanted, atol=1e-5)
            turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
            np.testing.assert_array_equal(self.net.predict(turned), wanted)

    def test_dlpack(self):
        class Foreign:
            """An array of another library, which knows DLPack only."""

            def __init__(self, array):
                self.array, self.dtype = array, "foreign.float32"

            def __dlpack__(self, **options):
                return self.array.__dlpack__(**options)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        x = random_input(3)
        np.testing.assert_array_equal(self.net.predict(Foreign(x)), self.net.predict(x))

    def test_refusals(self):
        wrong = [
            (TypeError, lambda: self.net.predict(np.zeros((1, 1, 32, 32), np.int64))),
            (ValueError, lambda: self.net.predict(random_input(1, channels=3))),
            (ValueError, lambda: self.net.predict(np.zeros((4, 4), np.float32))),
            (TypeError, lambda: self.net.classify(random_input(1))),
            (TypeError, lambda: self.net.classify([3])),
            (ValueError, lambda: self.net.classify(np.zeros((2, 3, 32, 32), np.uint8))),
            (rs.ResNetError, lambda: self.net.classify("/nowhere.png")),
            (rs.ResNetError, lambda: self.net.classify(b"no picture")),
            (rs.ResNetError, lambda: self.net.classify([PICTURES[0], DIGITS])),
            (rs.ResNetError, lambda: rs.load("/nowhere.npz")),
            (rs.ResNetError, lambda: rs.load("resnet51")),
            (rs.ResNetError, lambda: rs.load(__file__)),
            (rs.ResNetError, lambda: rs.load(DIGITS, model="resnet51")),
            (rs.ResNetError, lambda: rs.load(DIGITS, threads=-1)),
            (rs.ResNetError, lambda: rs.load(DIGITS, class_names=["one"])),
            (rs.ResNetError, lambda: rs.load(b"no weights")),
            (ValueError, lambda: self.net.classify(PICTURES[0], top=0)),
        ]
        for kind, call in wrong:
            with self.assertRaises(kind) as caught:
                call()
            self.assertGreater(len(str(caught.exception)), 15)

    def test_threads(self):
        x = random_input(5)
        wanted = self.net.predict(x)
        for count in [1, 2]:
            self.net.threads = count
            self.assertEqual(self.net.threads, count)
            np.testing.assert_allclose(self.net.predict(x), wanted, atol=1e-5)
        with self.assertRaises(rs.ResNetError):
            self.net.threads = 5000
        self.assertEqual(self.net.threads, 2)


class Processes(unittest.TestCase):
    def test_threads_share_a_network(self):
        net, x = rs.load(DIGITS), random_input(7)
        wanted = net.predict(x)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for y in pool.map(net.predict, [x] * 24):
                np.testing.assert_array_equal(y, wanted)

    def test_fork(self):
        global shared
        shared, x = rs.load(DIGITS), random_input(7)
        wanted = shared.predict(x)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for y in pool.map(predict_shared, [x] * 4):
                np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(shared.predict(x), wanted)

    def test_a_fork_while_another_thread_opens_a_network(self):
        net = rs.load(DIGITS)
        net._lock.acquire()  # as a thread in `_handle` would
        child = multiprocessing.get_context("fork").Process(target=predict_with, args=(net, random_input(1)))
        child.start()
        child.join(30)
        net._lock.release()
        self.assertEqual(child.exitcode, 0)

    def test_spawn_and_pickle(self):
        net, x = rs.load(DIGITS, threads=1, batch=2), random_input(7)
        again = pickle.loads(pickle.dumps(net))
        self.assertEqual(again.describe(), net.describe())
        np.testing.assert_array_equal(again.predict(x), net.predict(x))
        self.assertIs(copy.deepcopy(net), net)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            np.testing.assert_array_equal(pool.apply(predict_with, (net, x)), net.predict(x))

    def test_packed_weights(self):
        with tempfile.TemporaryDirectory() as folder:
            packed, x = pathlib.Path(folder) / "digits.packed", random_input(3)
            wanted = rs.load(DIGITS, packed=packed).predict(x)
            self.assertTrue(packed.exists())
            np.testing.assert_array_equal(rs.load(DIGITS, packed=packed).predict(x), wanted)
            with self.assertRaises(rs.ResNetError):
                rs.load(DIGITS, packed=packed, strict=True)

    def test_precision(self):
        x, net = random_input(4), rs.load(DIGITS, precision="bf16")
        self.assertEqual(net.describe()["precision"], "bf16")
        self.assertEqual(rs.load(DIGITS).describe()["precision"], "float32")
        self.assertIn("bf16 weights", net.plan())
        wanted, found = rs.load(DIGITS).predict(x), net.predict(x)
        np.testing.assert_allclose(found, wanted, atol=1e-2 * np.abs(wanted).max())
        self.assertFalse(np.array_equal(found, wanted))
        for precision, problem in [("int8", "not quantized"), ("fp8", "options.precision")]:
            with self.assertRaisesRegex(rs.ResNetError, problem):
                rs.load(DIGITS, precision=precision)

    def test_a_network_that_is_dropped_while_it_runs(self):
        x, answers = random_input(64), []
        wanted = rs.load(DIGITS).predict(x)

        def run(net):
            for _ in range(5):
                answers.append(net.predict(x))
                net.threads = 1  # drops the open networks

        net = rs.load(DIGITS, threads=1)
        threads = [threading.Thread(target=run, args=(net,)) for _ in range(3)]
        for t in threads:
            t.start()
        del net
        for t in threads:
            t.join()
        self.assertEqual(len(answers), 15)
        for y in answers:
            np.testing.assert_allclose(y, wanted, atol=1e-5)


class Packaging(unittest.TestCase):
    def test_by_the_name_of_a_model(self):
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = pathlib.Path(folder) / "hub" / "checkpoints"
            checkpoints.mkdir(parents=True)
            shutil.copy(DIGITS, checkpoints / "cifar_resnet8-0123abcd.pth")
            with unittest.mock.patch.dict("os.environ", {"TORCH_HOME": folder}):
                self.assertEqual(rs.load("cifar_resnet8").model, "cifar_resnet8")

    def test_the_module_is_the_program(self):
        module = [sys.executable, "-m", "resnetswift"]
        done = subprocess.run([*module, "inspect", str(DIGITS)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("cifar_resnet8", done.stdout)
        self.assertEqual(subprocess.run([*module, "inspekt"], capture_output=True).returncode, 64)
        version = subprocess.run([*module, "--version"], capture_output=True, text=True).stdout
        self.assertEqual(version.split()[-1], rs.version())

    def test_an_import_loads_neither_numpy_nor_scikit_learn_nor_the_library(self):
        code = (f"import sys, resnetswift; assert not {{'numpy', 'sklearn', 'torch'}} & set(sys.modules); "
                f"assert 'libresnet' not in open('/proc/self/maps').read(); "
                f"resnetswift.load({str(DIGITS)!r}).classify({str(PICTURES[0])!r}); assert 'numpy' not in sys.modules")
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_every_public_name_is_there_and_documented(self):
        for name in rs.__all__:
            if name in ("ResNetClassifier", "ResNetFeatures") and not has("sklearn"):
                continue
            self.assertTrue(getattr(rs, name).__doc__, name)


class Interface:
    """An array that has nothing but NumPy's array interface."""

    def __init__(self, pixels):
        self.pixels, self.__array_interface__ = pixels, pixels.__array_interface__


def has(module):
    import importlib.util

    return importlib.util.find_spec(module) is not None


def read_png(path):
    """The demo's pictures: 8 bits, gray, not interlaced; the five filters of PNG."""
    import struct
    import zlib

    data, place, body = path.read_bytes(), 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place:place + 8])
        content = data[place + 8:place + 8 + length]
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
        elif kind == b"IDAT":
            body += content
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, width + 1)
    result = np.zeros((height + 1, width + 1), np.int64)
    for y, row in enumerate(rows, 1):
        for x, value in enumerate(row[1:], 1):
            a, b, c = int(result[y, x - 1]), int(result[y - 1, x]), int(result[y - 1, x - 1])
            near = min((a, b, c), key=lambda v: (abs(a + b - c - v)))
            result[y, x] = (int(value) + [0, a, b, (a + b) // 2, near][row[0]]) % 256
    return result[1:, 1:].astype(np.uint8)


if __name__ == "__main__":
    unittest.main()
