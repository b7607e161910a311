#!/usr/bin/env bash
# A release program is hard to turn against its user: read-only tables of addresses, guarded stacks, checked copies.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v readelf >/dev/null || { echo "no readelf here"; exit 77; }
readelf -lW "$RETORT" >segments
readelf -dW "$RETORT" >dynamic 2>/dev/null || true
grep -q INTERP segments || { echo "a static program"; exit 77; }
nm -D "$RETORT" >symbols
! grep -q __asan symbols || { echo "a program with sanitizers"; exit 77; }
grep -q GNU_RELRO segments || fail "no RELRO"
grep -qE 'BIND_NOW|Flags:.*NOW' dynamic || fail "no BIND_NOW: the table of addresses can be written"
grep -E 'GNU_STACK' segments | grep -q ' RW ' || fail "the stack can be executed"
readelf -hW "$RETORT" | grep -q 'DYN' || fail "no position-independent program"
grep -q __stack_chk_fail symbols || fail "no stack protector"
grep -qE '__[a-z]+_chk' symbols || fail "no checked copies (FORTIFY)"
