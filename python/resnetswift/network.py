"""A network with its weights: pictures in, classes and features out."""

from __future__ import annotations

import collections
import ctypes
import json
import math
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence

from . import _native, _pictures

# NumPy is imported by the calls that give arrays, see _pictures.
if TYPE_CHECKING:
    import pathlib

    import numpy as np


class Score(NamedTuple):
    """A class, and how probable it is. ``present`` is of networks for several labels a picture: whether the probability
    reaches the label's threshold."""

    name: str
    probability: float
    index: int
    present: bool | None = None


class Explanation(NamedTuple):
    """Where on a picture a class comes from: ``logit == values.sum() + rest``, but for rounding."""

    name: str
    index: int
    probability: float
    logit: float
    #: Of the logit, what no place adds: the bias.
    rest: float
    #: What each place of the last feature map adds to the logit: float64 (height, width).
    values: np.ndarray


class _Handle:
    """An open network for arrays of one size, and for pictures. Closed when nobody uses it any more."""

    def __init__(self, source: dict[str, Any], options: dict[str, Any], height: int = 0, width: int = 0):
        text = lambda value: None if value is None else os.fsencode(value)  # noqa: E731
        names, weights = source["class_names"], source["weights"]
        listed = None if names is None else (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
        given = _native.Source(
            path=None if isinstance(weights, bytes) else text(weights),
            weights=weights if isinstance(weights, bytes) else None,
            weights_size=len(weights) if isinstance(weights, bytes) else 0, classes=source["classes"],
            seed=source["seed"], key=text(source["key"]), prefix=text(source["prefix"]),
            transform=text(source["transform"]), class_names=listed, class_name_count=0 if names is None else len(names))
        # A file of packed weights is of one size of pictures.
        packed = None if height else options["packed"]
        chosen = _native.Options(
            input=0, height=height, width=width, batch=options["batch"], threads=options["threads"],
            strict=options["strict"], model=text(source["model"]), packed=text(packed),
            precision=text(options.get("precision")))
        self.pointer, error = ctypes.c_void_p(), _native.Error()
        self.library = _native.library()
        _native.check(
            self.library.resnet_open_source(
                ctypes.byref(given), ctypes.byref(chosen), ctypes.byref(self.pointer), ctypes.byref(error)), error)
        self.info = _native.Info()
        self.library.resnet_describe(self.pointer, ctypes.byref(self.info))
        self.of_views: dict[str, _Views] = {}

    def seeing(self, views: str) -> _Handle | _Views:
        """The same network for several views of a picture."""
        if views == "none":
            return self
        if views not in self.of_views:
            self.of_views[views] = _Views(self, views)
        return self.of_views[views]

    def __del__(self):
        if getattr(self, "pointer", None):
            self.library.resnet_close(self.pointer)


class _Views:
    """An open network whose answers are means over views of a picture. It shares its memory with the one it is made from."""

    def __init__(self, handle: _Handle, views: str):
        self.library, self.info, self.pointer, error = handle.library, handle.info, ctypes.c_void_p(), _native.Error()
        _native.check(
            self.library.resnet_with_views(
                handle.pointer, views.encode(), ctypes.byref(self.pointer), ctypes.byref(error)), error)

    __del__ = _Handle.__del__


class Network:
    """A network with its weights; ``load`` makes one.

    Any number of threads may use a network at once, and so may the children of a fork. A pickled network is the path of
    its weights and its options: who unpickles it opens the file again, so the file must be there.
    """

    #: Sizes of arrays that are kept ready at once; each takes about as much memory as the weights.
    SIZES = 3

    def __init__(
        self, weights: str | os.PathLike | bytes | None = None, *, model: str | None = None, threads: int = 0,
        batch: int = 8, strict: bool = False, packed: str | os.PathLike | None = None, key: str | None = None,
        prefix: str | None = None, transform: str | dict | None = None, class_names: Sequence[str] | None = None,
        classes: int = 0, seed: int = 0, tta: str = "none", precision: str | None = None,
    ):
        """Opens weights: .pth, .safetensors or .npz, recognized by content, or a folder of Hugging Face or timm.

        :param weights: a path, or the bytes of a weight file; ``None`` means random weights of ``model``.
        :param model: the network, such as ``"resnet50"``; told from the weights otherwise.
        :param threads: of the computation; 0 means ``OMP_NUM_THREADS``, or the physical cores this process may use.
        :param batch: pictures that run at once. Calls may bring any number.
        :param strict: no Winograd, nearest to plain sums.
        :param packed: a file of packed weights, made if it is not there; later processes map it, start faster and share
            its memory.
        :param key: where a file holds several networks, the one to read, such as ``"model_ema"``.
        :param prefix: what stands before the network's names in the file, such as ``"backbone"``.
        :param transform: how a picture becomes input: ``"imagenet"``, ``"imagenet-v2"``, ``"inception"``, ``"cifar"``,
            ``"digits"`` or a transform as JSON; otherwise as the weights say.
        :param class_names: in the order of the logits; otherwise as the weights say.
        :param classes: of random weights; 0 means the model's usual number.
        :param seed: of random weights.
        :param tta: test-time augmentation. Logits and features of a picture are the means over ``"flip"``: it and its mirror
            image; ``"five-crop"``: corners and middle in place of the transform's crop; ``"ten-crop"``: those and their
            mirror images. Each call may choose another one. Floats have no views.
        :param precision: ``"float32"``, ``"int8"`` (weights of ``resnet quantize`` only) or ``"bf16"`` (the weights of 1x1
            convolutions and linear layers in bfloat16); otherwise int8 for quantized weights, float32 for all others.
        :raises ResNetError: if the weights cannot be read, or the transform does not crop where crops are asked for.
        """
        if isinstance(weights, (bytearray, memoryview)):
            weights = bytes(weights)
        elif weights is not None and not isinstance(weights, bytes):
            weights = os.path.abspath(os.fspath(weights))
        if isinstance(transform, dict):
            transform = json.dumps(transform)
        self._source = {
            "weights": weights, "model": model, "key": key, "prefix": prefix, "transform": transform,
            "class_names": None if class_names is None else list(class_names), "classes": int(classes), "seed": int(seed)}
        self._options = {
            "threads": int(threads), "batch": int(batch), "strict": bool(strict),
            "packed": None if packed is None else os.path.abspath(os.fspath(packed)), "tta": str(tta),
            "precision": precision}
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._handles: collections.OrderedDict[tuple[int, int], _Handle] = collections.OrderedDict()
        _networks.add(self)
        info = self._handle().seeing(self.tta).info
        self._applies_exif = self.transform["exif"] == "apply"
        self._names: list[str] | None = None
        self._has_names = bool(info.has_class_names)
        #: Such as ``"resnet50"``.
        self.model: str = info.model.decode()
        #: Logits of a picture; 0 where the weights came without a classifier.
        self.classes: int = info.classes
        #: Floats of an embedding; 0 where the network has none.
        self.features: int = info.features
        #: Of a picture: 3, or 1 for gray ones.
        self.channels: int = info.channels
        #: Height and width of pictures, as the weights say.
        self.input_size: tuple[int, int] = (info.height, info.width)

    # ---- what it is

    @property
    def weights(self) -> str | None:
        """The path of the weights; ``None`` for weights from memory and random ones."""
        return self._source["weights"] if isinstance(self._source["weights"], str) else None

    @property
    def class_names(self) -> list[str] | None:
        """In the order of the logits; ``None`` where the classes have no names."""
        if self._names is None and self._has_names:
            handle = self._handle()
            name = handle.library.resnet_class_name
            self._names = [name(handle.pointer, i).decode() for i in range(self.classes)]
        return self._names

    @property
    def thresholds(self) -> np.ndarray | None:
        """For networks of several labels a picture, from which probability on each label is present."""
        import numpy as np

        handle = self._handle()
        values = [handle.library.resnet_threshold(handle.pointer, i) for i in range(self.classes)]
        return None if any(map(math.isnan, values)) or not values else np.array(values, np.float32)

    @property
    def transform(self) -> dict[str, Any]:
        """How a picture becomes input: ``channels``, ``exif`` and ``steps``."""
        handle = self._handle()
        return json.loads(handle.library.resnet_transform(handle.pointer))

    @property
    def mean(self) -> np.ndarray:
        """(channels), in 0...1: the network sees (byte / 255 - mean) / std."""
        return self._normalization()[0]

    @property
    def std(self) -> np.ndarray:
        """(channels), in 0...1."""
        return self._normalization()[1]

    def _normalization(self) -> np.ndarray:
        import numpy as np

        handle, values, error = self._handle(), np.empty((2, self.channels), np.float32), _native.Error()
        _native.check(
            handle.library.resnet_normalization(
                handle.pointer, values[0].ctypes.data, values[1].ctypes.data, ctypes.byref(error)), error)
        return values

    @property
    def tta(self) -> str:
        """Which views of a picture are averaged, unless a call says otherwise: ``"none"``, ``"flip"``, ``"five-crop"`` or
        ``"ten-crop"``."""
        return self._options["tta"]

    @property
    def threads(self) -> int:
        """Threads of the computation. Setting it takes effect at the next call; 0 means the usual number."""
        return self._handle().info.threads

    @threads.setter
    def threads(self, count: int) -> None:
        before, self._options["threads"] = self._options["threads"], int(count)
        with self._lock:
            self._handles.clear()
        try:
            self._handle()
        except _native.ResNetError:
            self._options["threads"] = before
            raise

    def describe(self) -> dict[str, Any]:
        """What the network is: model, weights, classes, names, features, channels, size of the pictures, transform,
        test-time augmentation, threads, instruction set, precision."""
        return {
            "model": self.model, "weights": self.weights, "classes": self.classes, "class_names": self.class_names,
            "features": self.features, "channels": self.channels, "input_size": self.input_size,
            "transform": self.transform, "tta": self.tta, "threads": self.threads,
            "instruction_set": _native.library().resnet_instruction_set().decode(),
            "precision": self._handle().info.precision.decode()}

    def plan(self) -> str:
        """The plan as text: what is fused, which kernels are chosen, how much memory is used. For weights from a file."""
        from . import _tool  # what starts processes is loaded late: an import stays quick

        options = self._options
        words = _tool.arguments({
            **self._program_options(), "batch": options["batch"], "accuracy": "strict" if options["strict"] else None,
            "precision": options.get("precision"),
            "input_size": "x".join(map(str, self.input_size))})
        return _tool.run(["describe", *words])[0]

    def explain(
        self, picture: Any, class_: str | int | None = None, *, out: str | os.PathLike | None = None,
    ) -> Explanation:
        """Where on a picture its class comes from: a class activation map. For weights from a file.

        :param picture: one, as ``classify`` takes it.
        :param class_: to explain, by name or index; the most probable one otherwise.
        :param out: a PNG to write, the picture with colors where it speaks for the class.
        :raises ResNetError: for a picture that cannot be read, or a network whose head has no such map.
        """
        import tempfile

        import numpy as np

        from . import _tool

        pictures, is_single = _pictures.collect(picture, self._applies_exif)
        if not is_single:
            raise TypeError(f"expected one picture, found a list of {len(pictures)}")
        given = pictures[0]
        if isinstance(class_, str) and self.class_names and class_ in self.class_names:
            class_ = self.class_names.index(class_)
        with tempfile.TemporaryDirectory() as folder:
            if not isinstance(given, str):
                path = os.path.join(folder, "picture")
                with open(path, "wb") as file:
                    file.write(given if isinstance(given, bytes) else _pictures.png(given))
                given = path
            words = _tool.arguments({
                **self._program_options(), "class": class_, "transform": self._transform_option(folder),
                "out": os.path.join(folder, "heat.png") if out is None else out})
            found = json.loads(_tool.run(["explain", "--json", *words, "--", given])[0])
        name = self.class_names[found["index"]] if self.class_names else found["class"]
        values = np.array(found["values"]).reshape(found["height"], found["width"])
        return Explanation(name, found["index"], found["probability"], found["logit"], found["rest"], values)

    def _program_options(self) -> dict[str, Any]:
        """The options of the program by which it opens the same network."""
        if self.weights is None:
            raise _native.ResNetError("expected weights from a file, whose path the program takes; found others", 3)
        source = self._source
        return {"weights": self.weights, "model": source["model"], "key": source["key"], "prefix": source["prefix"],
                "threads": self._options["threads"]}

    def _transform_option(self, folder: str) -> str | None:
        """The transform as the program takes it: a name, or a file that is written into the folder."""
        transform = self._source["transform"]
        if transform is None or not transform.lstrip().startswith("{"):
            return transform
        path = os.path.join(folder, "transform.json")
        with open(path, "w") as file:
            file.write(transform)
        return path

    def __repr__(self) -> str:
        return f"<Network {self.model}, {self.classes} classes, {self.weights or 'weights in memory'}>"

    # ---- running it

    def classify(self, pictures: Any, top: int = 5, *, skip: bool = False, tta: str | None = None) -> list:
        """The most probable classes, the best first.

        :param pictures: a path, the bytes of a picture file, an open file, pixels as a uint8 array (height, width,
            channels), a PIL image; or a list of those, or an array (N, height, width, channels).
        :param top: how many classes.
        :param skip: a picture that cannot be read gives ``None``.
        :param tta: which views of a picture are averaged; ``None`` means what ``load`` was told.
        :returns: a list of ``Score`` for one picture; a list of those for several.
        :raises ResNetError: for a picture that cannot be read.
        """
        if _pictures.is_network_input(pictures):
            raise TypeError("expected pictures; floats are what `predict` takes")
        top, names = min(int(top), self.classes), self.class_names

        def run(handle: _Handle | _Views, given: Any, count: int, each: Any, error: Any) -> Any:
            scores = (_native.Score * (count * top))()
            status = handle.library.resnet_classify(handle.pointer, given, count, top, scores, each, error)
            return status, lambda: [
                [_score(s, names) for s in scores[row * top:(row + 1) * top]] for row in range(count)]

        if self.classes and top < 1:
            raise ValueError(f"expected `top` of at least 1, found {top}")
        rows, is_single, failures = self._pictures(pictures, run, skip, tta)
        for index in failures:
            rows[index] = None
        return rows[0] if is_single else rows

    def embed(self, x: Any, *, skip: bool = False, tta: str | None = None) -> np.ndarray:
        """Features, what the last layer reads: float32 (N, features); (features) for one picture.

        :param x: pictures as ``classify`` takes them, or floats as ``predict`` does.
        :param skip: the row of a picture that cannot be read is NaN.
        :param tta: which views of a picture are averaged; ``None`` means what ``load`` was told.
        :raises ResNetError: for a picture that cannot be read, or a network without features.
        """
        if self.features == 0:
            raise _native.ResNetError(f"{self.model} has no embedding before its logits", 3)
        if _pictures.is_network_input(x):
            return self._floats(x, "resnet_embed", self.features, tta)
        return self._rows(x, "resnet_embed_pictures", (self.features,), skip, tta)

    def predict(self, x: Any, *, skip: bool = False, tta: str | None = None) -> np.ndarray:
        """Logits, before softmax or sigmoid: float32 (N, classes); (classes) for one picture.

        :param x: floats (N, channels, height, width), or one of them without N, normalized as in training; a NumPy array,
            or anything with DLPack, such as a torch tensor. Contiguous float32 is used where it lies. Any size the
            network runs on. Or pictures as ``classify`` takes them.
        :param skip: the row of a picture that cannot be read is NaN.
        :param tta: which views of a picture are averaged; ``None`` means what ``load`` was told.
        :raises ResNetError: for a picture that cannot be read.
        """
        if _pictures.is_network_input(x):
            return self._floats(x, "resnet_predict", self.classes, tta)
        return self._rows(x, "resnet_predict_pictures", (self.classes,), skip, tta)

    def read(self, pictures: Any, *, skip: bool = False) -> np.ndarray:
        """Pictures as the network's input, float32 (N, channels, height, width): resized, cropped and normalized.

        :param skip: a picture that cannot be read is NaN.
        """
        return self._rows(pictures, "resnet_read_pictures", (self.channels, *self.input_size), skip, "none")

    def _rows(
        self, pictures: Any, function: str, shape: tuple[int, ...], skip: bool, tta: str | None,
    ) -> np.ndarray:
        import numpy as np

        def run(handle: _Handle | _Views, given: Any, count: int, each: Any, error: Any) -> Any:
            result = np.empty((count, *shape), np.float32)
            status = getattr(handle.library, function)(handle.pointer, given, count, result.ctypes.data, each, error)
            return status, lambda: result

        rows, is_single, _ = self._pictures(pictures, run, skip, tta)
        if isinstance(rows, list):
            return np.empty((0, *shape), np.float32)
        return rows[0] if is_single else rows

    def _pictures(
        self, pictures: Any, run: Callable[..., Any], skip: bool, tta: str | None,
    ) -> tuple[Any, bool, list[int]]:
        """The rows of `run`, whether there is one picture, and which could not be read."""
        items, is_single = _pictures.collect(pictures, self._applies_exif)
        count = len(items)
        if count == 0:
            return [], False, []
        given, held = _pictures.native(items)  # `held` owns what `given` points to
        each = (_native.Error * count)() if skip else None
        error = _native.Error()
        handle = self._handle().seeing(self.tta if tta is None else tta)
        status, rows = run(handle, given, count, each, ctypes.byref(error))
        del held
        _native.check(status, error)
        return rows(), is_single, [i for i in range(count) if skip and each[i].text]

    def _floats(self, x: Any, function: str, width: int, tta: str | None) -> np.ndarray:
        import numpy as np

        tta = self.tta if tta is None else tta
        if tta != "none":
            raise TypeError(
                f"expected pictures for tta={tta!r}, found floats, which have been through the transform already")
        array = _pictures.as_array(x)
        if array.dtype.kind != "f":
            raise TypeError(f"expected floats (N, channels, height, width), found {array.dtype}")
        is_single = array.ndim == 3
        if is_single:
            array = array[None]
        if array.ndim != 4 or array.shape[1] != self.channels:
            raise ValueError(f"expected floats (N, {self.channels}, height, width), found {array.shape}")
        array = np.ascontiguousarray(array, np.float32)  # copies only what is not
        result = np.empty((len(array), width), np.float32)
        if len(array):
            handle, error = self._handle(*array.shape[2:]), _native.Error()
            _native.check(
                getattr(handle.library, function)(
                    handle.pointer, array.ctypes.data, len(array), result.ctypes.data, ctypes.byref(error)), error)
        return result[0] if is_single else result

    def _handle(self, height: int = 0, width: int = 0) -> _Handle:
        """The open network for floats of a size; that of the usual size serves pictures too."""
        with self._lock:
            if (height, width) == getattr(self, "input_size", None):
                height = width = 0
            handle = self._handles.get((height, width))
            if handle is None:
                handle = self._handles[height, width] = _Handle(self._source, self._options, height, width)
            self._handles.move_to_end((height, width))
            while len(self._handles) > self.SIZES:
                self._handles.popitem(last=False)
            return handle

    # ---- processes

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self._source, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._source, self._options = state["source"], state["options"]
        self._begin()

    def __copy__(self) -> "Network":
        return self

    def __deepcopy__(self, memo: Any) -> "Network":
        return self


def _score(score: _native.Score, names: list[str] | None) -> Score:
    name = names[score.index] if names and score.index >= 0 else f"class {score.index}"
    return Score(name, score.probability, score.index, None if score.present < 0 else bool(score.present))


# A lock that another thread held while this process was forked stays locked in the child, so the child gets new ones.
_networks: weakref.WeakSet[Network] = weakref.WeakSet()


def _renew_locks() -> None:
    for network in _networks:
        network._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def load(weights: str | os.PathLike | bytes, **options: Any) -> Network:
    """Opens a network.

    :param weights: a file (.pth, .safetensors, .npz), a folder of Hugging Face or timm, the bytes of a file, or the name
        of a model, such as ``"resnet50"``: then the weights that torchvision or Hugging Face have downloaded on this
        machine are used. Nothing is downloaded here.
    :param options: of ``Network``: model, threads, batch, strict, packed, precision, key, prefix, transform, class_names,
        tta.
    :raises ResNetError: if there are no such weights, or they cannot be read.
    """
    if isinstance(weights, (str, os.PathLike)) and not os.path.exists(weights):
        name = os.fspath(weights)
        found = _downloaded(name)
        if found is None:
            raise _native.ResNetError(
                f"{name}: expected a file, a folder, or a model whose weights torchvision or Hugging Face have "
                f"downloaded, found none in {_torch_folder()} and {_hugging_face_folder()}", 2)
        weights = found
    return Network(weights, **options)


def models() -> list[str]:
    """The names of the networks that are known, such as ``"resnet50"``."""
    name, names = _native.library().resnet_model_name, []
    while name(len(names)) is not None:
        names.append(name(len(names)).decode())
    return names


def _torch_folder() -> pathlib.Path:
    import pathlib

    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch")
    return pathlib.Path(home) / "hub" / "checkpoints"


def _hugging_face_folder() -> pathlib.Path:
    import pathlib

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
