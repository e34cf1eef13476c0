"""The program ``resnet`` as a child: options from keyword arguments, errors as exceptions, Ctrl-C handed on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import Any, Callable, Iterable

from . import _native

_PREFIX = "resnet: "


def arguments(options: dict[str, Any]) -> list[str]:
    """Keyword arguments as the program spells them: ``layer_decay=0.5`` is ``--layer-decay 0.5``, ``flip=True`` is
    ``--flip``, a list has commas between. ``None`` and ``False`` are left out."""
    result: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        # One word, so that a value may begin with a minus.
        option = "--" + name.rstrip("_").replace("_", "-")
        if value is True:
            result.append(option)
        elif isinstance(value, (str, bytes, os.PathLike)):
            result.append(f"{option}={os.fsdecode(value)}")
        elif isinstance(value, Iterable):
            result.append(f"{option}={','.join(map(str, value))}")
        else:
            result.append(f"{option}={value}")
    return result


def run(
    words: list[str], *, verbose: bool = False, poll: Callable[[], None] | None = None, may_skip: bool = False,
) -> tuple[str, int]:
    """Standard output and exit code of the program.

    A failure is a ``ResNetError`` with the program's own sentence. So is a picture that cannot be read; with ``may_skip``
    it is a warning. An exception of ``poll``, which is called ten times a second, or Ctrl-C, is handed on as an
    interrupt, on which the program finishes its batch and saves; then it is raised again.
    """
    # A session of its own: of Ctrl-C the child hears from us alone, and only once.
    child = subprocess.Popen(
        [_native.program(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True)
    output: list[bytes] = []
    messages: list[str] = []

    def collect_messages() -> None:
        for line in child.stderr:
            text = line.decode(errors="replace")
            messages.append(text.rstrip("\n"))
            if verbose:
                sys.stderr.write(text)

    readers = [
        threading.Thread(target=lambda: output.append(child.stdout.read()), daemon=True),
        threading.Thread(target=collect_messages, daemon=True)]
    for reader in readers:
        reader.start()
    try:
        while True:
            try:
                child.wait(0.1 if poll else None)
                break
            except subprocess.TimeoutExpired:
                poll()
    except BaseException:
        _interrupt(child)
        raise
    finally:
        for reader in readers:
            reader.join()
        child.stdout.close()
        child.stderr.close()
    if poll:
        poll()
    _judge(child.returncode, messages, may_skip)
    return b"".join(output).decode(errors="replace"), child.returncode


def _interrupt(child: subprocess.Popen) -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait()
    except KeyboardInterrupt:  # the second one does not wait for the batch
        child.kill()
        child.wait()


def _judge(code: int, messages: list[str], may_skip: bool) -> None:
    if code == 0:
        return
    notes = [m[len(_PREFIX):] for m in messages if m.startswith(_PREFIX)]
    errors = [n[len("error: "):] for n in notes if n.startswith("error: ")]
    if code == 2 and may_skip:
        left_out = errors or [n[len("warning: "):] for n in notes if n.startswith("warning: ")]
        warnings.warn("some pictures were left out: " + "; ".join(left_out[:5]), stacklevel=4)
        return
    if code < 0:
        raise _native.ResNetError(f"resnet ended by signal {signal.Signals(-code).name}", code)
    raise _native.ResNetError("; ".join(errors) or "\n".join(messages[-5:]) or f"resnet ended with {code}", code)



