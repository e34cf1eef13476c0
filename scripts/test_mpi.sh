#!/usr/bin/env bash
# Trains the digits by one, two and four processes of Open MPI on this machine and compares the weights bit for bit; kills a
# process and resumes; gives processes other settings; takes the library away.
#
#     scripts/test_mpi.sh [tool]            (default: .build/debug/resnet, with libresnet_mpi.so beside it)
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(realpath "${1:-.build/debug/resnet}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Open MPI asks twice before it runs as root, and containers forbid the copies that it tries first.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_rmaps_base_oversubscribe=1 OMP_NUM_THREADS=1

say() { printf '== %s\n' "$*"; }
fail() {
    printf 'test_mpi: %s\n' "$*" >&2
    exit 1
}
mpi() { mpirun --bind-to none "$@"; }
# train FOLDER OPTION...: the arguments of a run; 1437 digits do not divide into batches of 96.
train() {
    local folder=$1
    shift
    printf '%s\n' train demo/digits.npz --model cifar_resnet14 --batch 96 --lr 0.05 --threads 1 --workers 1 --seed 3 \
        --out "$work/$folder" "$@"
}
run() {
    local launcher=$1 arguments
    shift
    mapfile -t arguments < <(train "$@")
    if ! $launcher "$tool" "${arguments[@]}" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        return 1
    fi
}
same() { cmp "$work/$1/best.safetensors" "$work/$2/best.safetensors" || fail "$1 and $2 differ"; }

say "one process and two, two shards"
run "" one-2 --shards 2 --epochs 2
run "mpi -n 2" two-2 --epochs 2
same one-2 two-2

say "one, two and four processes, four shards; augmentation, Adam, averages"
options="--shards 4 --epochs 1 --optimizer adamw --ema 0.9 --crop 0.6,1 --mixup 0.2 --label-smoothing 0.1"
for n in 1 2 4; do run "mpi -n $n" "of-$n" $options; done
same of-1 of-2
same of-1 of-4

say "without overlap; in bfloat16"
run "mpi -n 2" after-2 --epochs 2 --no-overlap
same one-2 after-2
for n in 1 2; do run "mpi -n $n" "bf16-$n" --shards 4 --epochs 1 --gradient-dtype bf16; done
same bf16-1 bf16-2

say "batch norms with the statistics of the whole batch"
for n in 1 2; do run "mpi -n $n" "sync-$n" --shards 2 --epochs 1 --sync-batch-norm; done
same sync-1 sync-2

say "a frozen backbone: its features, its head"
run "" frozen-1 --shards 2 --epochs 2 --freeze allButHead
run "mpi -n 2" frozen-2 --shards 2 --epochs 2 --freeze allButHead
same frozen-1 frozen-2

say "a process is killed; one process goes on to the same weights"
run "" whole --shards 2 --epochs 6
mapfile -t arguments < <(train broken --shards 2 --epochs 6 --checkpoint-every 3)
mpi -n 2 "$tool" "${arguments[@]}" >"$work/log" 2>&1 &
job=$!
for _ in $(seq 600); do [ -e "$work/broken/last.safetensors" ] && break || sleep 0.1; done
victim=$(pgrep -f -- "--out $work/broken" | while read -r p; do
    [ "$(readlink "/proc/$p/exe")" = "$tool" ] && echo "$p"
done | tail -n 1)
kill -9 "$victim"
begin=$SECONDS
if wait "$job"; then fail "the job did not notice that process $victim was killed"; fi
[ $((SECONDS - begin)) -le 20 ] || fail "the job took $((SECONDS - begin)) s to end"
grep -q "signal 9" "$work/log" || fail "nobody says that a process was killed: $(tail -n 3 "$work/log")"
run "" broken --shards 2 --epochs 6 --checkpoint-every 3 --resume
same whole broken

say "another learning rate in one process"
mapfile -t arguments < <(train other)
if mpi -n 1 "$tool" "${arguments[@]}" : -n 1 "$tool" "${arguments[@]}" --lr 0.1 >"$work/log" 2>&1; then
    fail "two learning rates are not refused"
fi
grep -q "learning rate: expected the same in all processes, 0.05 in process 0, found 0.1 in process 1" "$work/log" ||
    fail "the error does not name the learning rate: $(cat "$work/log")"

say "shards that cannot be shared out, launchers that contradict each other, no library"
refused() {
    local expected=$1
    shift
    if "$@" >"$work/log" 2>&1; then fail "not refused: $*"; fi
    grep -q -- "$expected" "$work/log" || fail "expected '$expected', found $(cat "$work/log")"
}
mapfile -t arguments < <(train refused)
refused "shards: expected 2 for 2 processes" mpi -n 2 "$tool" "${arguments[@]}" --shards 3
refused "synchronized batch norm: expected batch norms that train" mpi -n 2 "$tool" "${arguments[@]}" \
    --sync-batch-norm --freeze allButHead
refused "OMPI_COMM_WORLD_RANK, PMI_RANK" env OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 PMI_RANK=1 PMI_SIZE=4 \
    "$tool" "${arguments[@]}"
refused "make mpi" env RESNET_MPI="$work/none.so" "$tool" "${arguments[@]}" --distributed mpi
say "all the same bits"
