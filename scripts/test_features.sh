#!/usr/bin/env bash
# Runs Examples/Python/features_spark.py and features_ray.py on the digits with two workers each, and compares their tables with
# Network.embed.
#
#     PYTHON=venv/bin/python scripts/test_features.sh
#
# PYTHON names a Python with resnetswift, pandas, pyarrow, and pyspark or ray; Spark needs Java too. Of what is missing the test
# says so and ends with 0.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# Ray has sockets below it, whose paths may not be long.
work=$(mktemp -d /tmp/features.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/pictures"
cp demo/digits/*.png "$work/pictures"
echo nonsense >"$work/pictures/broken.png"

# is_missing ENGINE MODULE...: says what is not installed.
is_missing() {
    local engine=$1 missing
    shift
    missing=$("$python" -c "import $(IFS=,; echo "$*")" 2>&1 | tail -n 1)
    [ -n "$missing" ] && echo "$engine skipped: $missing"
}

# compare ENGINE EXAMPLE: two workers, one thread each.
compare() {
    local engine=$1 temporary=$work/$1
    mkdir "$temporary"
    TMPDIR=$temporary RAY_TMPDIR=$work/r RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled \
        timeout 300 "$python" "$2" "$work/pictures" "$temporary/table" --weights demo/digits.safetensors \
        --workers 2 --threads 1 --batch 4 >"$temporary/log" 2>&1 || {
        tail -n 40 "$temporary/log" >&2
        exit 1
    }
    [ "$(find "$temporary" -name '*.packed' | wc -l)" = 1 ] || {
        echo "$engine: expected one file of packed weights for all workers" >&2
        exit 1
    }
    "$python" - "$work/pictures" "$temporary/table" "$engine" <<'END'
import pathlib
import sys

import numpy as np
import pyarrow.parquet
import resnetswift as rs

pictures, table, engine = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
table = pyarrow.parquet.read_table(table).to_pydict()
paths = [path.removeprefix("file:") for path in table["path"]]
assert sorted(paths) == sorted(map(str, pictures.iterdir())), "each picture once"
expected = rs.load("demo/digits.safetensors", threads=1).embed(paths, skip=True)
found = np.array(table["features"], np.float32)
assert np.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True), "other features than in one process"
wrong = [pathlib.Path(path).name for path, error in zip(paths, table["error"]) if error]
assert wrong == ["broken.png"], wrong
print(f"features of {len(paths)} pictures by {engine} are those of one process")
END
}

if ! command -v java >/dev/null; then
    echo "Spark skipped: it needs Java (default-jre-headless)"
elif ! is_missing Spark resnetswift pyspark pandas pyarrow; then
    compare Spark Examples/Python/features_spark.py
fi
is_missing Ray resnetswift ray pandas pyarrow || compare Ray Examples/Python/features_ray.py
