"""From a folder of pictures to a table of features, by Spark: on this machine, or by spark-submit on a cluster.

    python3 features_spark.py PICTURES OUT [--weights resnet50.pth] [--workers 2] [--threads 1] [--batch 64]

OUT becomes a folder of Parquet files with the columns path, features (array<float>) and error. Each task opens the network
once and runs on --threads threads. The packed weights are one file a host, which its workers map and share. Under `spark-submit
--master ...` the weights must be at the same path on all hosts; --workers is ignored. Needs pyspark, pandas, pyarrow, resnetswift and
Java.
"""

import argparse
import functools
import os
import sys
import tempfile

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

SCHEMA = "path string, features array<float>, error string"


def embed(frames, weights, threads, batch):
    """A task: frames of path and content to frames of path, features and error, with a network that is opened once."""
    import resnetswift as rs

    packed = os.path.join(tempfile.gettempdir(), f"{os.path.basename(weights)}-{os.getuid()}-{batch}.packed")
    network = rs.load(weights, threads=threads, batch=batch, packed=packed)
    for frame in frames:
        features = network.embed(list(frame["content"]), skip=True)
        is_read = ~np.isnan(features).any(axis=1)
        yield pd.DataFrame({
            "path": frame["path"], "features": list(features),
            "error": np.where(is_read, "", "this picture cannot be read")})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("out")
    parser.add_argument("--weights", default="resnet50.pth")
    parser.add_argument("--workers", type=int, default=2, help="on this machine")
    parser.add_argument("--threads", type=int, default=1, help="of a worker")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    builder = SparkSession.builder.appName("features")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # which spark-submit sets; it knows the master
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master(f"local[{options.workers * options.threads}]")
    spark = (
        builder.config("spark.task.cpus", options.threads)  # a task keeps so many cores of its host
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", options.batch).getOrCreate())
    pictures = (
        spark.read.format("binaryFile").option("recursiveFileLookup", True)
        .option("pathGlobFilter", "*.{jpg,jpeg,png,webp,gif,bmp,tif,tiff,JPG,JPEG,PNG}").load(options.pictures))
    work = functools.partial(
        embed, weights=os.path.abspath(options.weights), threads=options.threads, batch=options.batch)
    pictures.select("path", "content").mapInPandas(work, SCHEMA).write.mode("overwrite").parquet(options.out)
    spark.stop()


if __name__ == "__main__":
    main()
