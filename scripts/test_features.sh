#!/usr/bin/env bash
# Runs Examples/Python/features_spark.py on the digits with two workers, and compares its table with Network.embed.
#
#     PYTHON=venv/bin/python scripts/test_features.sh
#
# PYTHON names a Python with resnetswift, pyspark, pandas and pyarrow; Java must be installed. Without them the test says what is
# missing and ends with 0.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
command -v java >/dev/null || {
    echo "skipped: Spark needs Java (default-jre-headless)"
    exit 0
}
missing=$("$python" -c 'import resnetswift, pyspark, pandas, pyarrow' 2>&1 | tail -n 1)
[ -z "$missing" ] || {
    echo "skipped: $missing"
    exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r demo/digits "$work/pictures"
echo nonsense >"$work/pictures/broken.png"
TMPDIR=$work "$python" Examples/Python/features_spark.py "$work/pictures" "$work/table" --weights demo/digits.safetensors \
    --workers 2 --threads 1 --batch 4 >"$work/log" 2>&1 || {
    tail -n 40 "$work/log" >&2
    exit 1
}
[ "$(find "$work" -name '*.packed' | wc -l)" = 1 ] || {
    echo "expected one file of packed weights for all workers" >&2
    exit 1
}
"$python" - "$work" <<'END'
import pathlib
import sys

import numpy as np
import pyarrow.parquet
import resnetswift as rs

work = pathlib.Path(sys.argv[1])
table = pyarrow.parquet.read_table(work / "table").to_pydict()
paths = [path.removeprefix("file:") for path in table["path"]]
assert sorted(paths) == sorted(map(str, (work / "pictures").iterdir())), "each picture once"
expected = rs.load("demo/digits.safetensors", threads=1).embed(paths, skip=True)
found = np.array(table["features"], np.float32)
assert np.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True), "other features than in one process"
wrong = [pathlib.Path(path).name for path, error in zip(paths, table["error"]) if error]
assert wrong == ["broken.png"], wrong
print(f"features of {len(paths)} pictures by Spark are those of one process")
END
