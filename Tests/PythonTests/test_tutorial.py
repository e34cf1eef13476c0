"""The Python of docs/tutorial.md runs as it stands there, on small pictures and weights, and answers over HTTP."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import numpy as np

from resnetswift._pictures import png
from support import DIGITS, PICTURES, ROOT

NAMES = ["zero", "one", "two"]


def write_photos(folder):
    """Fifteen pictures of each of three digits."""
    with np.load(ROOT / "demo" / "digits.npz") as arrays:
        pixels, labels = arrays["x_train"], arrays["y_train"]
    pixels = pixels.reshape(len(pixels), *[side for side in pixels.shape[1:] if side > 1])
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i, digit in enumerate(pixels[labels == label][:15]):
            (folder / name / f"{i}.png").write_bytes(png(digit[:, :, None]))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Tutorial(unittest.TestCase):
    def test_it_trains_and_answers(self):
        (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
        self.assertLessEqual(len(program.splitlines()), 20)
        port = free_port()
        self.assertIn("8000", program)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_photos(folder / "photos")
            shutil.copy(DIGITS, folder / "resnet18.pth")  # weights are recognized by content
            with open(folder / "output", "w+") as output, subprocess.Popen(
                    [sys.executable, "-u", "-c", program.replace("8000", str(port))], cwd=folder, stdout=output,
                    stderr=subprocess.STDOUT) as server:
                try:
                    self.wait_for(port, server, output)
                    self.check_answers(f"http://127.0.0.1:{port}")
                finally:
                    server.kill()
                output.seek(0)
                self.assertIn("<Evaluation loss", output.read())
            self.assertTrue((folder / "run" / "report.html").exists())
            self.assertTrue((folder / "run" / "best.safetensors").exists())

    def wait_for(self, port, server, output):
        for _ in range(1200):
            if server.poll() is not None:
                output.seek(0)
                self.fail(output.read())
            try:
                return socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                time.sleep(0.1)
        self.fail("it does not answer")

    def check_answers(self, address):
        pictures = [path for path in PICTURES if path.name.split("_")[0] in NAMES]
        right = 0
        for path in pictures:
            answer = json.load(urllib.request.urlopen(address, path.read_bytes()))
            self.assertEqual(set(answer), set(NAMES))
            self.assertAlmostEqual(sum(answer.values()), 1, places=4)
            right += max(answer, key=answer.get) == path.name.split("_")[0]
        self.assertGreaterEqual(right, len(pictures) - 1)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address, b"no picture")
        self.assertEqual(caught.exception.code, 400)
        self.assertIn("error", json.load(caught.exception))
        caught.exception.close()


if __name__ == "__main__":
    unittest.main()
