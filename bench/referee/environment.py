"""The peers' virtual environment: made on first use, outside the repository, and checked against requirements.txt."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
REQUIREMENTS = BENCH / "requirements.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "resnetswift"


def pins():
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def python_of(venv):
    return Path(venv) / "bin" / "python"


def versions(venv):
    """Versions of the pinned packages that the environment really holds; absent ones are missing from the result."""
    code = (
        "import json, sys\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n"
        "for name in json.loads(sys.argv[1]):\n    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\nprint(json.dumps(found))"
    )
    done = subprocess.run(
        [python_of(venv), "-c", code, json.dumps(list(pins()))], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def missing(venv):
    found = versions(venv)
    # torch 2.15.0+cpu and 2.15.0 are the same source
    return [f"{name}=={pin}" for name, pin in pins().items() if found.get(name, "").split("+")[0] != pin]


def ensure(venv, say):
    """Makes the environment and installs what is missing; returns its versions."""
    venv = Path(venv)
    if not python_of(venv).exists():
        say(f"making a virtual environment for the peers in {venv}")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    lacking = missing(venv)
    if lacking:
        say(f"installing {len(lacking)} pinned packages into {venv} (up to 6 GB): {', '.join(lacking)}")
        subprocess.run(
            [python_of(venv), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
            check=True,
        )
        lacking = missing(venv)
        if lacking:
            raise SystemExit(f"error: still missing after the installation: {', '.join(lacking)}")
    return versions(venv)
