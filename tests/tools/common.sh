# What the end-to-end tests share. A test sources this, runs in an empty folder that is removed afterwards, and needs
# nothing beyond the program and a POSIX userland: arrays, weights and images are written byte by byte.
set -euo pipefail

[[ -n ${RETORT:-} ]] || { echo "RETORT: names no program; set it to the path of retort"; exit 77; }
RETORT=$(realpath "$RETORT")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fail() {
  echo "FAILED: $*"
  [[ ! -f stdout ]] || { echo "--- stdout"; head -c 2000 stdout; }
  [[ ! -f stderr ]] || { echo "--- stderr"; head -c 2000 stderr; }
  exit 1
}

# Runs retort with the arguments; its output goes to the files stdout and stderr. Fails unless it ends with status $1.
expect() {
  local wanted=$1 status=0
  shift
  "$RETORT" "$@" >stdout 2>stderr </dev/null || status=$?
  [[ $status == "$wanted" ]] || fail "retort $*: status $status, expected $wanted"
}

# As expect, and the failure is one line on stderr that contains $2, with nothing on stdout.
expect_error() {
  local wanted=$1 message=$2
  shift 2
  expect "$wanted" "$@"
  [[ $(wc -l <stderr) == 1 ]] || fail "retort $*: stderr is not one line"
  [[ ! -s stdout ]] || fail "retort $*: stdout is not empty"
  grep -qF -- "$message" stderr || fail "retort $*: stderr does not say '$message'"
}

# The words of --loss, as the help lists them.
losses() {
  local words
  words=$("$RETORT" distill --help | sed -nE 's/^ *--loss TEXT=kd +(kd, .* or .*)$/\1/p' | sed -E 's/,| or / /g')
  [[ -n $words ]] || fail "distill --help lists no losses"
  echo "$words"
}

# The values of every "$1" in the JSON on stdout, a line each: numbers, strings' characters, words.
values() { { grep -oE "\"$1\":(\"[^\"]*\"|[^],}]*)" stdout || true; } | cut -d: -f2- | sed -E 's/^"(.*)"$/\1/'; }
# The first of them.
json() { values "$1" | sed -n 1p; }

expect_json() {
  [[ $(json "$1") == "$2" ]] || fail "\"$1\" is '$(json "$1")', expected '$2'"
}

# True if the decimal numbers satisfy $1 $2 $3, e.g. holds 1e-3 '<' 0.5. What is no number holds for nothing.
holds() {
  local number='^-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$'
  [[ $1 =~ $number && $3 =~ $number ]] && awk -v a="$1" -v b="$3" "BEGIN { exit !((a + 0) $2 (b + 0)) }"
}
# The distance of two numbers, or nothing.
distance() { holds "$1" == "$1" && holds "$2" == "$2" && awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; print d < 0 ? -d : d }'; }

# The value of "$1" in the last line of a log of JSON lines, or nothing.
last() { tail -n 1 "$2" | grep -oE "\"$1\":[^,}]*" | cut -d: -f2; }

# Of a model file: the bytes of its header; those after it, as the header says what it was trained with, so that whole
# files may differ though their weights do not; those of one tensor.
header_bytes() { od -An -t u8 -N 8 "$1" | tr -d ' '; }
weights() { [[ -s $1 ]] && tail -c +$((9 + $(header_bytes "$1"))) "$1"; }
tensor() {
  local size offsets
  size=$(header_bytes "$1")
  offsets=$(dd if="$1" bs=1 skip=8 count="$size" status=none | grep -oE "\"$2\":\{[^}]*" | grep -oE '[0-9]+,[0-9]+\]$')
  offsets=${offsets%]}
  dd if="$1" bs=1 skip=$((8 + size + ${offsets%,*})) count=$((${offsets#*,} - ${offsets%,*})) status=none
}
# Fails with the message unless the weights of two model files differ.
other_weights() {
  [[ -s $1 && -s $2 ]] || fail "$1 or $2 is missing"
  ! cmp -s <(weights "$1") <(weights "$2") || fail "$3"
}

# One line of JSON on stdout: that and nothing else.
expect_json_alone() {
  [[ $(wc -l <stdout) == 1 && $(head -c 1 stdout) == "{" && $(tail -c 2 stdout) == "}" ]] || fail "stdout is not one JSON object"
}

# Little-endian bytes of integers: bytes <width> <value>...
bytes() {
  local width=$1 value i hex text=
  shift
  for value in "$@"; do
    for ((i = 0; i < width; ++i)); do
      printf -v hex '\\x%02x' $(((value >> (8 * i)) & 255))
      text+=$hex
    done
  done
  printf "$text"
}

# float32 bytes of small integers (|value| < 2^24), exactly.
floats() {
  local value sign magnitude exponent words=()
  for value in "$@"; do
    sign=0 magnitude=$value exponent=0
    ((value < 0)) && sign=1 magnitude=$((-value))
    if ((magnitude == 0)); then
      words+=(0)
      continue
    fi
    while ((magnitude >> (exponent + 1))); do exponent=$((exponent + 1)); done
    words+=($(((sign << 31) | ((exponent + 127) << 23) | ((magnitude << (23 - exponent)) & 0x7fffff))))
  done
  bytes 4 "${words[@]}"
}

# npy <dtype> <shape>: a version 1.0 header, then standard input, e.g. floats 1 2 | npy '<f4' '(2,)' >x.npy
npy() {
  local header="{'descr': '$1', 'fortran_order': False, 'shape': $2, }"
  while (((${#header} + 11) % 64)); do header+=" "; done
  printf '\x93NUMPY\x01\x00'
  bytes 2 $((${#header} + 1))
  printf '%s\n' "$header"
  cat
}

# safetensors <JSON header>: then standard input.
safetensors() {
  bytes 8 ${#1}
  printf %s "$1"
  cat
}

# The float32 of a file's last $2 bytes, in decimal, separated by spaces.
tail_floats() { tail -c "$2" "$1" | od -An -v -t f4 | tr -s ' \n' ' ' | sed -E 's/^ //; s/ $//; s/(^| )-0( |$)/\10\2/g'; }

# ppm <size> <red> <green> <blue>: a square image of one colour.
ppm() {
  local i pixels=()
  for ((i = 0; i < $1 * $1; ++i)); do pixels+=("$2" "$3" "$4"); done
  printf 'P6\n%d %d\n255\n' "$1" "$1"
  bytes 1 "${pixels[@]}"
}
