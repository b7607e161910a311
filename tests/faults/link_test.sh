#!/usr/bin/env bash
# Two machines (two_machines.sh), one process each, over TCP. The bits of one process; then the link is cut in mid-epoch: the job ends, and goes on to the same bits when the link is back; then all goes through a relay
# that delays by 50 ms and drops one packet in fifty. Needs RETORT, and root.
faults=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
source "$faults/../tools/common.sh"
source "$faults/two_machines.sh"

skip() { echo "skipped: $*"; exit 77; }
command -v mpirun >/dev/null || skip "no mpirun (tools/install_dependencies.sh --checks)"
command -v ip >/dev/null || skip "no ip (Debian and Ubuntu: iproute2)"
trap '[[ -z ${relay:-} ]] || kill "$relay" 2>/dev/null || true; remove_machines; rm -rf "$scratch"' EXIT
make_machines || skip "no network namespaces here: $(head -1 why)"
over() { together "$@" >stdout 2>stderr; }

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
  ppm 8 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
done
run=("$RETORT" train --model resnet8 --data "$PWD/data" --image-size 8 --val-split 0.2 --batch-size 9 --threads 1 --quiet --epochs)

expect 0 "${run[@]:1}" 40 --accumulate 2 --out one.safetensors
status=0
over 10.213.77 "${run[@]}" 40 --out "$PWD/two.safetensors" || status=$?
if grep -q "this build has no MPI" stderr; then skip "this build has no MPI"; fi
[[ $status == 0 ]] || fail "two machines: status $status"
cmp -s <(weights one.safetensors) <(weights two.safetensors) || fail "two machines have other bits than one process"

over 10.213.77 "${run[@]}" 40 --out "$PWD/cut.safetensors" &
job=$!
for ((i = 0; i < 400; ++i)); do
  [[ -s cut.state.safetensors ]] && break
  sleep 0.05
done
ip -n "$a" link set va$$ down
start=$SECONDS status=0
wait "$job" || status=$?
((status != 0)) || fail "the job was over before the link was cut"
echo "the job ended $((SECONDS - start)) s after the link was cut, with status $status"
((SECONDS - start <= 60)) || fail "a job whose link is cut goes on"
for ((i = 0; i < 100; ++i)); do
  pgrep -f "$PWD/cut.safetensors" >/dev/null || break
  sleep 0.1
done
! pgrep -f "$PWD/cut.safetensors" >/dev/null || fail "a process of the job is left"
expect 0 verify cut.state.safetensors
ip -n "$a" link set va$$ up
status=0
over 10.213.77 "${run[@]}" 40 --out "$PWD/cut.safetensors" --resume || status=$?
[[ $status == 0 ]] || fail "resumed after the cut: status $status"
cmp -s <(weights two.safetensors) <(weights cut.safetensors) || fail "resumed after the cut: other bits"

python3 "$faults/relay.py" relay "$a" 10.213.78.1/24 "$b" 10.213.78.2/24 --delay 0.05 --drop 0.02 >relayed 2>why &
relay=$!
for ((i = 0; i < 100; ++i)); do
  [[ -s relayed ]] && break
  kill -0 "$relay" 2>/dev/null || { echo "without a relay: no tun devices here: $(tail -1 why)"; exit 0; }
  sleep 0.05
done
expect 0 "${run[@]:1}" 2 --accumulate 2 --out one-short.safetensors
start=$SECONDS status=0
over 10.213.78 "${run[@]}" 2 --out "$PWD/relayed.safetensors" || status=$?
kill "$relay"
wait "$relay" || fail "the relay ended otherwise: $(cat why)"
echo "through the relay: $((SECONDS - start)) s, $(tail -n 1 relayed)"
[[ $status == 0 ]] || fail "through the relay: status $status"
cmp -s <(weights one-short.safetensors) <(weights relayed.safetensors) || fail "through the relay: other bits"
