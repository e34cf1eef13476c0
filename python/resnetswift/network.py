"""A network with its weights: pictures in, classes and features out."""

from __future__ import annotations

import collections
import ctypes
import json
import os
import pathlib
import tempfile
import threading
import weakref
from typing import Any, NamedTuple, Sequence

import numpy as np

from . import _native, _pictures, _tool


class Score(NamedTuple):
    """A class, and how probable it is. ``present`` is of networks for several labels a picture: whether the probability
    reaches the label's threshold."""

    name: str
    probability: float
    index: int
    present: bool | None = None


class _Handle:
    """An open network for pictures of one size. Closed when nobody uses it any more."""

    def __init__(self, weights: str, options: _native.Options):
        self.pointer, error = ctypes.c_void_p(), _native.Error()
        self.library = _native.library()
        _native.check(
            self.library.resnet_open(
                os.fsencode(weights), ctypes.byref(options), ctypes.byref(self.pointer), ctypes.byref(error)), error)
        self.info = _native.Info()
        self.library.resnet_describe(self.pointer, ctypes.byref(self.info))

    def run(self, function: Any, x: np.ndarray, width: int) -> np.ndarray:
        result, error = np.empty((len(x), width), np.float32), _native.Error()
        if len(x):
            _native.check(
                function(self.pointer, x.ctypes.data, len(x), result.ctypes.data, ctypes.byref(error)), error)
        return result

    def __del__(self):
        if getattr(self, "pointer", None):
            self.library.resnet_close(self.pointer)


class Network:
    """A network with its weights; ``load`` makes one.

    Any number of threads may use a network at once, and so may the children of a fork. A pickled network is the path of
    its weights and its options: who unpickles it opens the file again, so the file must be there.
    """

    #: Sizes of pictures that are kept ready at once; each takes about as much memory as the weights.
    SIZES = 3

    def __init__(
        self, weights: str | os.PathLike, *, model: str | None = None, threads: int = 0, batch: int = 8,
        strict: bool = False, packed: str | os.PathLike | None = None,
    ):
        """Opens weights: .pth, .safetensors or .npz, recognized by content, or a folder of Hugging Face or timm.

        :param model: the network, such as ``"resnet50"``; told from the weights otherwise.
        :param threads: of the computation; 0 means ``OMP_NUM_THREADS``, or the physical cores this process may use.
        :param batch: pictures that run at once. Calls may bring any number.
        :param strict: no Winograd, nearest to plain sums.
        :param packed: a file of packed weights, made if it is not there; later processes map it, start faster and share
            its memory.
        :raises ResNetError: if the weights cannot be read.
        """
        self.weights = os.path.abspath(os.fspath(weights))
        self._options = {
            "model": model, "threads": int(threads), "batch": int(batch), "strict": bool(strict),
            "packed": None if packed is None else os.path.abspath(os.fspath(packed))}
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._handles: collections.OrderedDict[tuple[int, int], _Handle] = collections.OrderedDict()
        _networks.add(self)
        self._info = info = self._handle(0, 0).info
        self._names: list[str] | None = None
        #: Such as ``"resnet50"``.
        self.model: str = info.model.decode()
        #: Logits of a picture.
        self.classes: int = info.classes
        #: Floats of an embedding; 0 where the network has none.
        self.features: int = info.features
        #: Of a picture: 3, or 1 for gray ones.
        self.channels: int = info.channels
        #: Height and width of pictures, as the weights say.
        self.input_size: tuple[int, int] = (info.height, info.width)

    # ---- what it is

    @property
    def class_names(self) -> list[str] | None:
        """In the order of the logits; ``None`` where the weights bring none."""
        if self._names is None and self._info.has_class_names:
            handle = self._handle(0, 0)
            name = handle.library.resnet_class_name
            self._names = [name(handle.pointer, i).decode() for i in range(self.classes)]
        return self._names

    @property
    def threads(self) -> int:
        """Threads of the computation. Setting it takes effect at the next call; 0 means the usual number."""
        return self._handle(0, 0).info.threads

    @threads.setter
    def threads(self, count: int) -> None:
        before, self._options["threads"] = self._options["threads"], int(count)
        with self._lock:
            self._handles.clear()
        try:
            self._handle(0, 0)
        except _native.ResNetError:
            self._options["threads"] = before
            raise

    def describe(self) -> dict[str, Any]:
        """What the network is: model, weights, classes, names, features, channels, size of the pictures, threads."""
        return {
            "model": self.model, "weights": self.weights, "classes": self.classes, "class_names": self.class_names,
            "features": self.features, "channels": self.channels, "input_size": self.input_size,
            "threads": self.threads}

    def plan(self) -> str:
        """The plan as text: what is fused, which kernels are chosen, how much memory is used."""
        size = "x".join(map(str, self.input_size))
        return _tool.run(["describe", *self._words(), f"--input-size={size}"])[0]

    def __repr__(self) -> str:
        return f"<Network {self.model}, {self.classes} classes, {self.weights!r}>"

    # ---- running it

    def predict(self, x: Any) -> np.ndarray:
        """Logits, float32 (N, classes), before softmax or sigmoid.

        :param x: floats (N, channels, height, width), or one of them without N, normalized as in training; a NumPy array,
            or anything with DLPack, such as a torch tensor. Contiguous float32 is used where it lies. Any size the
            network runs on.
        """
        return self._floats(x, "resnet_predict", self.classes)

    def embed(self, x: Any) -> np.ndarray:
        """Features, what the last layer reads: float32 (N, features).

        :param x: pictures as ``classify`` takes them, or floats as ``predict`` does. One picture gives one row.
        """
        if self.features == 0:
            raise _native.ResNetError(f"{self.model} has no embedding before its logits", 3)
        if _pictures.is_network_input(x):
            return self._floats(x, "resnet_embed", self.features)
        pictures, is_single = _pictures.collect(x)
        if not pictures:
            return np.empty((0, self.features), np.float32)
        with tempfile.TemporaryDirectory(prefix="resnetswift-") as folder:
            output = os.path.join(folder, "h.npy")
            self._run_tool("embed", pictures, folder, [f"--output={output}"])
            rows = np.load(output)
        return rows[0] if is_single else rows

    def classify(self, pictures: Any, top: int = 5) -> list:
        """The most probable classes, the best first.

        :param pictures: a path, the bytes of a picture file, pixels as a uint8 array (height, width, channels), a PIL
            image; or a list of those, or an array (N, height, width, channels).
        :param top: how many classes.
        :returns: a list of ``Score`` for one picture; a list of those for several.
        :raises ResNetError: for a picture that cannot be read.
        """
        if _pictures.is_network_input(pictures):
            raise TypeError("expected pictures; floats are what `predict` takes")
        items, is_single = _pictures.collect(pictures)
        if not items:
            return []
        with tempfile.TemporaryDirectory(prefix="resnetswift-") as folder:
            text = self._run_tool("classify", items, folder, ["--json", f"--top={int(top)}"])
        rows = [
            [Score(s["class"], s["probability"], s["index"], s.get("present")) for s in json.loads(line)["top"]]
            for line in text.splitlines()]
        return rows[0] if is_single else rows

    def _floats(self, x: Any, function: str, width: int) -> np.ndarray:
        array = _pictures.as_array(x)
        if array.dtype.kind != "f":
            raise TypeError(f"expected floats (N, channels, height, width), found {array.dtype}; see `classify` and `embed`")
        is_single = array.ndim == 3
        if is_single:
            array = array[None]
        if array.ndim != 4 or array.shape[1] != self.channels:
            raise ValueError(f"expected floats (N, {self.channels}, height, width), found {array.shape}")
        array = np.ascontiguousarray(array, np.float32)  # copies only what is not
        if len(array) == 0:
            return np.empty((0, width), np.float32)
        handle = self._handle(*array.shape[2:])
        result = handle.run(getattr(handle.library, function), array, width)
        return result[0] if is_single else result

    def _handle(self, height: int, width: int) -> _Handle:
        """The open network for floats of a size; 0, 0 is the usual one."""
        with self._lock:
            if height and (height, width) == getattr(self, "input_size", None):
                height = width = 0
            handle = self._handles.get((height, width))
            if handle is None:
                options = self._options
                handle = _Handle(
                    self.weights,
                    _native.Options(
                        0, height, width, options["batch"], options["threads"], options["strict"],
                        None if options["model"] is None else options["model"].encode(),
                        None if options["packed"] is None or height else os.fsencode(options["packed"])))
                self._handles[height, width] = handle
            self._handles.move_to_end((height, width))
            while len(self._handles) > self.SIZES:
                self._handles.popitem(last=False)
            return handle

    def _words(self) -> list[str]:
        options = self._options
        return _tool.arguments({
            "weights": self.weights, "model": options["model"], "threads": options["threads"],
            "batch": options["batch"], "accuracy": "strict" if options["strict"] else None})

    def _run_tool(self, command: str, pictures: Sequence[_pictures.Picture], folder: str, words: list[str]) -> str:
        paths = []
        for index, picture in enumerate(pictures):
            if isinstance(picture, str):
                paths.append(picture)
                if not os.path.isfile(picture):
                    raise _native.ResNetError(f"{picture}: expected a picture, found no such file", 2)
                continue
            path = os.path.join(folder, f"picture {index}")
            pathlib.Path(path).write_bytes(picture if isinstance(picture, bytes) else _pictures.png(picture))
            paths.append(path)
        return _tool.run([command, *self._words(), *words, "--", *paths])[0]

    # ---- processes

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.weights, self._options = state["weights"], state["options"]
        self._begin()

    def __copy__(self) -> "Network":
        return self

    def __deepcopy__(self, memo: Any) -> "Network":
        return self


# A lock that another thread held while this process was forked stays locked in the child, so the child gets new ones.
_networks: weakref.WeakSet[Network] = weakref.WeakSet()


def _renew_locks() -> None:
    for network in _networks:
        network._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def load(weights: str | os.PathLike, **options: Any) -> Network:
    """Opens a network.

    :param weights: a file (.pth, .safetensors, .npz), a folder of Hugging Face or timm, or the name of a model, such as
        ``"resnet50"``: then the weights that torchvision or Hugging Face have downloaded on this machine are used. Nothing
        is downloaded here.
    :param options: of ``Network``: model, threads, batch, strict, packed.
    :raises ResNetError: if there are no such weights, or they cannot be read.
    """
    if not os.path.exists(weights):
        name = os.fspath(weights)
        found = _downloaded(name)
        if found is None:
            raise _native.ResNetError(
                f"{name}: expected a file, a folder, or a model whose weights torchvision or Hugging Face have "
                f"downloaded, found none in {_torch_folder()} and {_hugging_face_folder()}", 2)
        weights = found
    return Network(weights, **options)


def _torch_folder() -> pathlib.Path:
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch")
    return pathlib.Path(home) / "hub" / "checkpoints"


def _hugging_face_folder() -> pathlib.Path:
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface")
    return pathlib.Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))


def _downloaded(name: str) -> pathlib.Path | None:
    """The newest of torchvision's files `resnet50-0676ba61.pth`, else of Hugging Face's `microsoft/resnet-50`."""
    if not name.replace("_", "").isalnum():
        return None
    files = list(_torch_folder().glob(f"{name}-*.pth"))
    dashed = name.replace("resnet", "resnet-") if name.startswith("resnet") else name
    for repository in [f"microsoft--{dashed}", f"timm--{name}.*"]:
        files += _hugging_face_folder().glob(f"models--{repository}/snapshots/*")
    return max(files, key=lambda path: path.stat().st_mtime, default=None)
