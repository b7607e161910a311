#!/usr/bin/env bash
# Several processes on devices: the simulator's, with a stand-in for NCCL. Needs RETORT; RANKS and BARE, which are ranks.cpp with NCCL and
# with neither NCCL nor MPI; and STANDIN, the folder of the stand-in. Without NCCL's headers there is no RANKS and no STANDIN.
source "$(dirname "${BASH_SOURCE[0]}")/../tools/common.sh"
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}
with_standin=(env "LD_LIBRARY_PATH=$STANDIN${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")
port=$((20000 + $$ % 20000))

# As torchrun does: N processes with its variables, whose output goes to the files out.RANK and err.RANK; the first that fails takes the
# others with it. torchrun N COMMAND...; the status is the first one that is not 0.
torchrun() {
  local n=$1 rank status=0 one job jobs=()
  shift
  port=$((port + 2))
  rm -f out.* err.*
  for ((rank = 0; rank < n; ++rank)); do
    env RANK=$rank LOCAL_RANK=$rank WORLD_SIZE="$n" MASTER_ADDR=127.0.0.1 MASTER_PORT=$port timeout 120 "$@" \
      >out.$rank 2>err.$rank </dev/null &
    jobs+=($!)
  done
  for ((rank = 0; rank < n; ++rank)); do
    one=0
    wait -n || one=$?
    ((one == 0 || status != 0)) && continue
    status=$one
    kill "${jobs[@]}" 2>/dev/null || true
  done
  cat out.* >stdout
  cat err.* >stderr
  return $status
}
# All of them fail with the status, and rank 0 says so in one line: refused STATUS MESSAGE N COMMAND...
refused() {
  local wanted=$1 message=$2 status=0
  shift 2
  torchrun "$@" || status=$?
  [[ $status == "$wanted" ]] || fail "$*: status $status, expected $wanted"
  [[ $(grep -c . stderr) == 1 ]] || fail "$*: stderr is not one line"
  grep -qF -- "$message" stderr || fail "$*: stderr does not say '$message'"
}

for i in 1 2 3 4 5 6 7; do
  mkdir -p data/blue data/red
  ppm 4 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 4 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
done
run=(train --model mlp:4 --data data --image-size 4 --val-split 0.2 --batch-size 5 --epochs 2 --threads 1 --quiet)

# The variables, without NCCL.
refused 2 "--device: torchrun started 2 processes, and on the CPU it is MPI that carries what they tell each other" \
  2 "$RETORT" "${run[@]}" --device cpu --out x.safetensors
refused 2 "predict: runs in one process, and each would do all of the work; leave torchrun out, or unset WORLD_SIZE" 2 "$RETORT" predict --model x --data data
variables() {
  local message=$1 status=0
  shift
  env "$@" "$RETORT" "${run[@]}" --device simt --out x.safetensors >stdout 2>stderr || status=$?
  [[ $status == 2 && $(wc -l <stderr) == 1 ]] || fail "$*: status $status"
  grep -qF -- "$message" stderr || fail "$*: stderr does not say '$message'"
}
variables "RANK: is 'x', expected a whole number from 0; start the processes with torchrun, or unset WORLD_SIZE" WORLD_SIZE=2 RANK=x
variables "RANK: is 2 where WORLD_SIZE is 2; ranks count from 0" WORLD_SIZE=2 RANK=2 LOCAL_RANK=0
variables "WORLD_SIZE: is '0', expected a whole number from 1" WORLD_SIZE=0 RANK=0
variables "SLURM_LOCALID: is '-1'" SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 SLURM_LOCALID=-1
# A build without MPI and NCCL.
refused 1 "rank 0: --device: several processes on simt need NCCL, which this build lacks" 1 env WORLD_SIZE=2 "$BARE" calls
refused 1 "rank 0: mpirun: this build has no MPI, and each process would do all of the work" 1 env OMPI_COMM_WORLD_SIZE=2 \
  OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_LOCAL_RANK=0 "$BARE" calls
# A batch script is one process, whatever its job has; a WORLD_SIZE without a RANK says nothing.
env SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 WORLD_SIZE=2 "$RETORT" "${run[@]}" --out alone.safetensors ||
  fail "one process of one does not run"

[[ -n ${RANKS:-} ]] || exit 0
variables "MASTER_ADDR: is not set" "${with_standin[@]:1}" WORLD_SIZE=2 RANK=0 LOCAL_RANK=0
variables "MASTER_PORT: is not set" "${with_standin[@]:1}" SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 SLURM_LOCALID=0 MASTER_ADDR=here
variables "MASTER_PORT: '70000' is no port" "${with_standin[@]:1}" WORLD_SIZE=2 RANK=0 LOCAL_RANK=0 MASTER_ADDR=h MASTER_PORT=70000
mkdir nothing
ln -s /dev/null nothing/libnccl.so.2
ln -s /dev/null nothing/libnccl.so
refused 2 "--device: several processes on simt need NCCL: " 2 env LD_LIBRARY_PATH="$PWD/nothing" "$RETORT" "${run[@]}" --device simt --out x.safetensors

# The group: every call, sums inside graphs, ranks that do not make the same calls.
torchrun 3 "${with_standin[@]}" "$RANKS" calls || fail "the calls of three ranks"
[[ $(grep -c "of 3: every call" stdout) == 3 ]] || fail "not all ranks made every call"
status=0
torchrun 2 "${with_standin[@]}" "$RANKS" order || status=$?
grep -qE "rank (1 calls ncclAllReduce of 2, rank 0 ncclAllReduce of 1|0 calls ncclAllReduce of 1, rank 1 ncclAllReduce of 2)" stderr || fail "ranks whose calls differ are not told"

# Steps, in graphs or not: N ranks have the bits of N parts, since the stand-in adds in rank order. Of 8 steps the first is no graph, nor is
# the one in which the last rank has no rows, for any rank.
every_rank() {
  local wanted=$1 n=$2
  shift 2
  torchrun "$n" "${with_standin[@]}" "$RANKS" steps "$@" || fail "steps $*: of $n ranks"
  [[ $(sort -u stdout) == "$wanted" ]] || fail "steps $*: not what was expected of $n ranks: $wanted"
}
for n in 2 4; do
  one=$("$RANKS" steps eager $n)
  every_rank "$one" $n eager $n
  every_rank "6${one#0}" $n graph $n
done
torchrun 2 "${with_standin[@]}" "$RANKS" steps eager 4 || fail "steps of two ranks with two parts each"
every_rank "6$(head -n 1 stdout | cut -c2-)" 2 graph 4

# The program: the bits of --accumulate, resume, a signal; over the variables, and under mpirun.
expect 0 "${run[@]}" --device simt --accumulate 2 --keep-state --out one.safetensors
same() { cmp -s <(weights one.safetensors) <(weights "$1") || fail "$1: other bits than --accumulate 2"; }
torchrun 2 "${with_standin[@]}" "$RETORT" "${run[@]}" --device simt --out two.safetensors || fail "two processes"
same two.safetensors
constant=("${run[@]}" --schedule constant --device simt --keep-state)
torchrun 2 "${with_standin[@]}" "$RETORT" "${constant[@]}" --out whole.safetensors || fail "two processes"
torchrun 2 "${with_standin[@]}" "$RETORT" "${constant[@]}" --epochs 1 --out part.safetensors || fail "two processes"
torchrun 2 "${with_standin[@]}" "$RETORT" "${constant[@]}" --out part.safetensors --resume || fail "two processes, resumed"
cmp -s part.safetensors whole.safetensors || fail "a resumed run has other bits"
torchrun 2 env TORCHELASTIC_USE_AGENT_STORE=True "${with_standin[@]}" "$RETORT" eval --model two.safetensors --data data --device simt || fail "eval"
grep -q accuracy stdout || fail "two processes judge nothing"
refused 1 "rank 1: was started with --lr" 2 "${with_standin[@]}" bash -c \
  '[[ $RANK == 0 ]] || set -- "$@" --lr 0.5; exec "$@"' - "$RETORT" "${run[@]}" --device simt --out x.safetensors
# A sum that comes out otherwise on one rank.
refused 1 "rank 1: its weights differ from rank 0's after epoch 1; the machines compute differently" \
  2 env NCCL_STANDIN_FLIPS=2 "${with_standin[@]}" "$RETORT" "${run[@]}" --device simt --out x.safetensors
# Each call of NCCL fails in turn.
for call in ncclGetUniqueId:1 ncclCommInitRank:1 ncclAllGather:1 ncclAllGather:9 ncclBroadcast:1 ncclAllReduce:1 ncclAllReduce:3; do
  how=--restart
  [[ $call != ncclBroadcast* ]] || how=--resume
  cp part.state.safetensors broken.state.safetensors
  refused 1 "nccl: ${call%:*}: " 2 env "NCCL_STANDIN_FAILS=$call" "${with_standin[@]}" \
    "$RETORT" "${constant[@]}" --epochs 4 --out broken.safetensors $how
done
if command -v mpirun >/dev/null; then
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
  status=0
  timeout 120 "${with_standin[@]}" mpirun --oversubscribe --allow-run-as-root --bind-to none -np 2 "$RETORT" "${run[@]}" --device simt \
    --out mpi.safetensors >stdout 2>stderr </dev/null || status=$?
  if ! grep -q "this build has no MPI" stderr; then
    [[ $status == 0 ]] || fail "two processes under mpirun: status $status"
    same mpi.safetensors
  fi
fi
