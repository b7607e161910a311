#!/usr/bin/env bash
# Two machines: network namespaces with names and addresses of their own, joined by a veth pair, one process each, over TCP. The bits of one
# process; then the link is cut in mid-epoch: the job ends, and goes on to the same bits when the link is back; then all goes through a relay
# that delays by 50 ms and drops one packet in fifty. Needs RETORT, and root.
relay_script=$(realpath "$(dirname "${BASH_SOURCE[0]}")/relay.py")
source "$(dirname "${BASH_SOURCE[0]}")/../tools/common.sh"

skip() { echo "skipped: $*"; exit 77; }
command -v mpirun >/dev/null || skip "no mpirun (tools/install_dependencies.sh --checks)"
command -v ip >/dev/null || skip "no ip (Debian and Ubuntu: iproute2)"
a=retort-a-$$ b=retort-b-$$
ip netns add "$a" 2>why || skip "ip netns is not allowed here: $(head -1 why)"
trap '[[ -z ${relay:-} ]] || kill "$relay" 2>/dev/null || true; ip netns del "$a"; ip netns del "$b"; rm -rf "$scratch"' EXIT
ip netns add "$b"
ip link add va$$ netns "$a" type veth peer name vb$$ netns "$b" 2>why || skip "no veth pairs here: $(head -1 why)"
for side in a b; do
  namespace=${!side} number=$([[ $side == a ]] && echo 1 || echo 2)
  ip -n "$namespace" addr add 10.213.77.$number/24 dev v$side$$
  ip -n "$namespace" link set v$side$$ up
  ip -n "$namespace" link set lo up
done

# mpirun's way to the other machine, which is ssh elsewhere.
cat >agent <<EOF2
#!/usr/bin/env bash
shift
exec ip netns exec $b unshare --uts bash -c "hostname machine-b && \$*"
EOF2
chmod +x agent
# Over the network of these addresses: together 10.213.77 COMMAND... Dead links are noticed in seconds; otherwise it takes minutes.
together() {
  local network=$1 status=0
  shift
  printf '%s slots=1\n' "$network.1" "$network.2" >hosts
  ip netns exec "$a" unshare --uts bash -c 'hostname machine-a && exec "$@"' - timeout 200 mpirun --allow-run-as-root --bind-to none \
    --hostfile hosts -np 2 --mca plm_rsh_agent "$PWD/agent" --mca btl tcp,self --mca btl_tcp_if_include "$network.0/24" \
    --mca oob_tcp_if_include "$network.0/24" --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
    "$@" >stdout 2>stderr </dev/null || status=$?
  return $status
}

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
  ppm 8 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
done
run=("$RETORT" train --model resnet8 --data "$PWD/data" --image-size 8 --val-split 0.2 --batch-size 9 --threads 1 --quiet --epochs)

expect 0 "${run[@]:1}" 40 --accumulate 2 --out one.safetensors
status=0
together 10.213.77 "${run[@]}" 40 --out "$PWD/two.safetensors" || status=$?
if grep -q "this build has no MPI" stderr; then skip "this build has no MPI"; fi
[[ $status == 0 ]] || fail "two machines: status $status"
cmp -s <(weights one.safetensors) <(weights two.safetensors) || fail "two machines have other bits than one process"

together 10.213.77 "${run[@]}" 40 --out "$PWD/cut.safetensors" &
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
together 10.213.77 "${run[@]}" 40 --out "$PWD/cut.safetensors" --resume || status=$?
[[ $status == 0 ]] || fail "resumed after the cut: status $status"
cmp -s <(weights two.safetensors) <(weights cut.safetensors) || fail "resumed after the cut: other bits"

python3 "$relay_script" relay "$a" 10.213.78.1/24 "$b" 10.213.78.2/24 --delay 0.05 --drop 0.02 >relayed 2>why &
relay=$!
for ((i = 0; i < 100; ++i)); do
  [[ -s relayed ]] && break
  kill -0 "$relay" 2>/dev/null || { echo "without a relay: no tun devices here: $(tail -1 why)"; exit 0; }
  sleep 0.05
done
expect 0 "${run[@]:1}" 2 --accumulate 2 --out one-short.safetensors
start=$SECONDS status=0
together 10.213.78 "${run[@]}" 2 --out "$PWD/relayed.safetensors" || status=$?
kill "$relay"
wait "$relay" || fail "the relay ended otherwise: $(cat why)"
echo "through the relay: $((SECONDS - start)) s, $(tail -n 1 relayed)"
[[ $status == 0 ]] || fail "through the relay: status $status"
cmp -s <(weights one-short.safetensors) <(weights relayed.safetensors) || fail "through the relay: other bits"
