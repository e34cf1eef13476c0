"""The manual page and the completions that the Debian package and `make install-tool` install."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from resnetswift import _native
from support import ROOT

COMMANDS = ["classify", "predict", "embed", "inspect", "train", "evaluate", "verify"]


class Manual(unittest.TestCase):
    def test_it_has_every_command_and_only_known_macros(self):
        page = subprocess.run(
            [sys.executable, ROOT / "scripts" / "make_manual.py", _native.program()], capture_output=True, text=True,
            check=True).stdout
        for command in COMMANDS:
            self.assertIn(f"\n.Ss {command}\n", page)
        self.assertIn('\n.It Fl "w" , Fl "\\-weights" Ar "file"\n', page)
        macros = set(re.findall(r"^\.(\w+)", page, re.MULTILINE))
        self.assertLessEqual(
            macros, set("Dd Dt Os Sh Ss Nm Nd Ar Op Fl Cm It Bl El Pp Bd Ed Ev".split()), "a line begins with a dot by mistake")
        self.assertEqual(re.findall(r"^'.*", page, re.MULTILINE), [])
        if shutil.which("mandoc"):
            found = subprocess.run(
                ["mandoc", "-T", "lint", "-W", "error"], input=page, capture_output=True, text=True)
            self.assertEqual(found.stdout + found.stderr, "")

    def test_it_is_installed_with_completions(self):
        with tempfile.TemporaryDirectory() as share:
            subprocess.run([ROOT / "scripts" / "install_manual.sh", _native.program(), share], check=True)
            files = {str(path.relative_to(share)) for path in pathlib.Path(share).rglob("*") if path.is_file()}
            self.assertEqual(files, {
                "man/man1/resnet.1", "bash-completion/completions/resnet", "zsh/site-functions/_resnet",
                "fish/vendor_completions.d/resnet.fish"})
            text = (pathlib.Path(share) / "bash-completion/completions/resnet").read_text()
            for command in COMMANDS:
                self.assertIn(command, text)
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)


if __name__ == "__main__":
    unittest.main()
