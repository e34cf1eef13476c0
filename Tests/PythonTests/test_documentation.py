"""The Python in docs/python.md runs, block by block, in a folder with the demo's files."""

import contextlib
import importlib.util
import io
import os
import re
import tempfile
import unittest

from support import ROOT


class Documentation(unittest.TestCase):
    def test_every_block_runs(self):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
        self.assertGreaterEqual(len(blocks), 3)
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(ROOT / "demo", f"{folder}/demo")
            os.chdir(folder)
            try:
                for block in blocks:
                    if "sklearn" in block and importlib.util.find_spec("sklearn") is None:
                        continue
                    shown = io.StringIO()
                    with self.subTest(block), contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()):
                        exec(compile(block, "docs/python.md", "exec"), {})
                    self.assertTrue(shown.getvalue())
            finally:
                os.chdir(before)


if __name__ == "__main__":
    unittest.main()
