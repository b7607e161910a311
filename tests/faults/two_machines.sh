# Two machines, to be sourced: network namespaces with names and addresses of their own, joined by a veth pair. Needs root, and a folder of
# its own to work in.
a=retort-a-$$ b=retort-b-$$

# make_machines [RATE]: RATE as tc has it (1gbit) limits the link both ways. Fails with a line in the file `why`.
make_machines() {
  local side namespace number
  ip netns add "$a" 2>why && ip netns add "$b" 2>why && ip link add va$$ netns "$a" type veth peer name vb$$ netns "$b" 2>why || return 1
  for side in a b; do
    namespace=${!side} number=$([[ $side == a ]] && echo 1 || echo 2)
    ip -n "$namespace" addr add 10.213.77.$number/24 dev v$side$$
    ip -n "$namespace" link set v$side$$ up
    ip -n "$namespace" link set lo up
    [[ -z ${1:-} ]] || ip netns exec "$namespace" tc qdisc add dev v$side$$ root tbf rate "$1" burst 1mb latency 50ms 2>why || return 1
  done
  # mpirun's way to the other machine, which is ssh elsewhere.
  cat >agent <<EOF
#!/usr/bin/env bash
shift
exec ip netns exec $b unshare --uts bash -c "hostname machine-b && \$*"
EOF
  chmod +x agent
}
remove_machines() {
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
}

# together NETWORK COMMAND...: one process on each machine, over the network of these addresses. Dead links are noticed in seconds, which
# takes minutes otherwise.
together() {
  local network=$1
  shift
  printf '%s slots=1\n' "$network.1" "$network.2" >hosts
  ip netns exec "$a" unshare --uts bash -c 'hostname machine-a && exec "$@"' - timeout 200 mpirun --allow-run-as-root --bind-to none \
    --hostfile hosts -np 2 --mca plm_rsh_agent "$PWD/agent" --mca btl tcp,self --mca btl_tcp_if_include "$network.0/24" \
    --mca oob_tcp_if_include "$network.0/24" --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
    "$@" </dev/null
}
