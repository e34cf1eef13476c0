"""From a folder of pictures to a table of features, by Ray Data: on this machine, or on all of a Ray cluster.

    python3 features_ray.py PICTURES OUT [--weights resnet50.pth] [--workers 2] [--threads 1] [--batch 64]

OUT becomes a folder of Parquet files with the columns path, features (a list of float32) and error. Each worker opens the network
once and runs on --threads threads. The packed weights are one file a host, which its workers map and share. On a cluster, whose
address is in RAY_ADDRESS, the pictures, the weights and OUT must be at the same path on all hosts. Needs ray, pandas, pyarrow and
resnetswift.
"""

import argparse
import os
import tempfile

import numpy as np
import ray

SUFFIXES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]


class Embedding:
    """A worker: a network that is opened once, and batches of path and bytes to batches of path, features and error."""

    def __init__(self, weights, threads, batch):
        import resnetswift as rs

        packed = os.path.join(tempfile.gettempdir(), f"{os.path.basename(weights)}-{os.getuid()}-{batch}.packed")
        self.network = rs.load(weights, threads=threads, batch=batch, packed=packed)

    def __call__(self, rows):
        features = self.network.embed(list(rows["bytes"]), skip=True)
        is_read = ~np.isnan(features).any(axis=1)
        return {
            "path": rows["path"], "features": list(features),
            "error": np.where(is_read, "", "this picture cannot be read")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("out")
    parser.add_argument("--weights", default="resnet50.pth")
    parser.add_argument("--workers", type=int, default=2, help="of all hosts together")
    parser.add_argument("--threads", type=int, default=1, help="of a worker")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:  # this machine is the cluster; one more core reads the files
        ray.init(num_cpus=options.workers * options.threads + 1, include_dashboard=False)
    pictures = ray.data.read_binary_files(
        os.path.abspath(options.pictures), include_paths=True, file_extensions=SUFFIXES)
    table = pictures.map_batches(
        Embedding, fn_constructor_args=(os.path.abspath(options.weights), options.threads, options.batch),
        batch_size=options.batch, num_cpus=options.threads, compute=ray.data.ActorPoolStrategy(size=options.workers))
    table.write_parquet(os.path.abspath(options.out), mode="overwrite")
    ray.shutdown()


if __name__ == "__main__":
    main()
