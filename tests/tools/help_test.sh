#!/usr/bin/env bash
# Help, what was meant, completions and the man page: all from the list of flags.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

expect_error 2 "trian: unknown argument; did you mean train?" trian
expect_error 2 "--modle: unknown argument; did you mean --model?" train --modle resnet50
expect_error 2 "model=resnet50: unknown argument; did you mean --model?" train model=resnet50
expect_error 2 "--student: 'resnet51' is no architecture; did you mean resnet50? There are vgg11|13|16|19[_bn]" \
  distill --student resnet51 --data . --logits x.npy --out x.safetensors
expect_error 2 "help: 'trian' is no command; did you mean train?" help trian
expect_error 2 "--completions: 'csh' is not known; give bash, zsh or fish" help --completions csh

expect 0 help
cp stdout program
expect 0 --help
cmp -s stdout program || fail "retort help is not retort --help"
expect 0 help bench conv
grep -q -- --net stdout || fail "help bench conv"
expect 0 help distill
for heading in "Data, as in --data photos" "Training, as in" "Objective, as in" "Teacher, as in" "Machine and output, as in" "Example:"; do
  grep -qF "$heading" stdout || fail "help distill has no '$heading'"
done

for shell in bash zsh fish; do
  expect 0 help --completions $shell
  cp stdout completions.$shell
done
expect 0 help --man
cp stdout retort.1
bash -n completions.bash || fail "bash does not take its completions"

# Every flag of every command is in all of them, with its default in those that explain.
commands=$(sed -n '/Subcommands/,$p' program | sed -nE 's/^  ([a-z]+) .*/\1/p')
[[ $(wc -w <<<"$commands") -ge 18 ]] || fail "the program lists few commands"
flags=0
for command in $commands "bench conv" "bench gemm" "bench step"; do
  expect 0 $command --help
  section=$(sed -n "/^.SS retort ${command}\$/,/^.SS /p" retort.1 | sed 's/\\-/-/g')
  bash_words=$(sed -n "s/^    ' $command') words='\(.*\)' ;;/\1/p" completions.bash)
  zsh_section=$(sed -n "/^    ' $command')\$/,/;;/p" completions.zsh | tr '()' '[]' | tr -d '\\')
  condition="__fish_seen_subcommand_from ${command/ /; and __fish_seen_subcommand_from }"
  fish_section=$(grep -F -- "-n '$condition'" completions.fish) || fail "no fish completions of $command"
  while read -r flag default; do
    flags=$((flags + 1))
    [[ " $bash_words " == *" $flag "* ]] || fail "bash does not complete $command $flag"
    # The line of each that speaks of the flag.
    zsh_line=${zsh_section#*"'$flag:"} fish_line=${fish_section#*" -l ${flag#--} "} man_lines=${section#*".B $flag"[$',\n']}
    [[ $zsh_line != "$zsh_section" ]] || fail "zsh does not complete $command $flag"
    [[ $fish_line != "$fish_section" ]] || fail "fish does not complete $command $flag"
    [[ $man_lines != "$section" ]] || fail "the man page has no $command $flag"
    [[ -z $default ]] && continue
    [[ ${zsh_line%%$'\n'*} == *"[default\: $default]"* || ${zsh_line%%$'\n'*} == *"[default: $default]"* ]] || fail "zsh: $command $flag without its default $default"
    [[ ${man_lines%%$'\n.'*} == *"(default: $default)"* ]] || fail "man page: $command $flag without its default $default"
    [[ ${fish_line%%$'\n'*} == *"(default: $default)"* ]] || fail "fish: $command $flag without its default $default"
  done < <(grep -oE -- '^ +(-[a-z],)?--[a-z0-9-]+( [A-Z]+(:\{[^}]*\})?)?(=[^ ]+)?' stdout | sed -E 's/^ +(-[a-z],)?//; s/ [A-Z]+(:\{[^}]*\})?(=|$)/ \2/; s/=/ /; s/ +/ /g' | sort -u)
done
((flags > 250)) || fail "only $flags flags were looked at"

# bash completes commands, flags and files.
complete_words() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  source ./completions.bash
  _retort
  echo " ${COMPREPLY[*]} "
}
[[ $(complete_words retort dis) == *" distill "* ]] || fail "retort dis"
[[ $(complete_words retort train --mod) == " --model " ]] || fail "retort train --mod"
[[ $(complete_words retort bench conv --ne) == " --net " ]] || fail "retort bench conv --ne"
[[ $(complete_words retort predict program) == *" program "* ]] || fail "files"
