"""CounterRandom (Sources/ResNetSwift/Support/CounterRandom.swift) in NumPy: the same numbers from the same names, so that
tests need no weight files."""

import numpy as np

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(seed, name, count):
    """CounterRandom(seed: seed, name: name).bits(0 ..< count)."""
    hash_value = 0xCBF29CE484222325
    for byte in name.encode():
        hash_value = (hash_value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.uint64(seed) + GOLDEN_RATIO) ^ np.uint64(hash_value))
        return _mix(key + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN_RATIO)


def uniform(seed, name, shape, low, high):
    """Float32 values in low..<high, as CounterRandom(seed: seed, name: name).fillUniform gives them."""
    words = bits(seed, name, int(np.prod(shape)))
    low, span = np.float32(low), np.float32(high) - np.float32(low)
    values = low + span * ((words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24))
    return values.reshape(shape)


def range_of(name, shape):
    """The range of a parameter by its key: He's variance for weights, statistics as a trained network might have them."""
    if name.endswith("running_var"):
        return 0.5, 1.5
    if len(shape) > 1:
        bound = np.sqrt(np.float32(6) / np.float32(np.prod(shape[1:])))
        return -bound, bound
    if name.endswith(".weight"):
        return 0.4, 0.8
    return -0.2, 0.2


def fill(model, seed=7):
    """Gives a PyTorch model the parameters that Model.random in the Swift tests gives its graph."""
    import torch

    state = model.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            shape = tuple(value.shape)
            state[name] = torch.from_numpy(uniform(seed, name, shape, *range_of(name, shape)))
    model.load_state_dict(state)
    return model.eval()


def pictures(images, channels, height, width, seed=7):
    return uniform(seed, "pictures", (images, channels, height, width), -2, 2)
