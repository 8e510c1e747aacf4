#!/usr/bin/env bash
# Drives the real program in a real terminal (tmux): a lesson from its first step to its end, what-if,
# check, quiz, other sizes, and out. Screens are compared with those in this folder; `--update` writes
# them again. The argument is the program: target/debug/unspool without one.
set -euo pipefail
cd "$(dirname "$0")/../.."

update=false
if [ "${1:-}" = --update ]; then update=true; shift; fi
program=$(realpath "${1:-target/debug/unspool}")

if ! command -v tmux >/dev/null; then
  if [ "$(id -u)" = 0 ]; then apt-get install -y -qq tmux >/dev/null
  else echo "tests/step/tmux.sh needs tmux" >&2; exit 1; fi
fi

# A server of its own, without anybody's settings.
socket=unspool-step-$$
tmux() { command tmux -L "$socket" -f /dev/null "$@"; }
failed=0
trap 'tmux kill-server 2>/dev/null || true' EXIT
export LC_ALL=C.UTF-8

screen() { tmux capture-pane -p -t step; }

# Waits until the screen has a text.
await() {
  for _ in $(seq 200); do
    if screen | grep -qF -- "$1"; then return; fi
    sleep 0.05
  done
  echo "the screen never had: $1" >&2; screen >&2; exit 1
}

# Compares the screen, once it has a text, with the file of this name.
holds() {
  await "$2"
  local file=tests/step/$1.txt
  if $update; then screen >"$file"; return; fi
  if ! diff -u "$file" <(screen); then echo "$1: another screen" >&2; failed=1; fi
}

keys() { tmux send-keys -t step "$@"; }
type_text() { tmux send-keys -t step -l -- "$1"; }

tmux new-session -d -s step -x 80 -y 24 'env PS1="ready> " TERM=screen-256color bash --norc --noprofile'
await 'ready>'
type_text "$program step neuron"; keys Enter
holds start 'forward 1/17'
# To the end and back.
for step in $(seq 2 17); do keys n; await "/17"; await " $step/17"; done
holds end '17/17'
for step in $(seq 16 -1 1); do keys b; await " $step/17"; done
keys g
holds backward 'backward 9/17'
# What if.
keys w; await 'new '; type_text 'w[0]=0.9'; keys Enter
holds what_if 'w[0]: 0.4'
keys Escape; sleep 0.1; await 'changed'; keys u; await 'taken back'
# Check; any key goes back, and does what it does.
keys f; await 'forward 1/17'; keys c
holds check 'moved by'
keys n; await 'forward 2/17'
# Quiz: a right guess, a wrong one and a right one, a hint, the score.
keys z; await '= ?'; keys Enter; type_text '0.5'; keys Enter; await 'right: d_'
keys n; await 'backward 10/17'; keys Enter; type_text '12'; keys Enter; await 'once more'
keys Enter; type_text '0.5'; keys Enter; await 'right: d_'
keys n; await 'backward 11/17'; keys y
holds quiz 'hint:'
keys z
holds score '1.5 of 2 points'
keys Enter
# Other sizes, while it runs.
tmux resize-window -t step -x 120 -y 30; sleep 0.3
holds wide 'p weights'
tmux resize-window -t step -x 30 -y 8
await 'is too small'
tmux resize-window -t step -x 80 -y 24
await 'Local rule'
# Out: the main screen is back, with its cursor, and the shell reads lines.
keys q; await 'ready>'
[ "$(tmux display-message -p -t step '#{alternate_on} #{cursor_flag}')" = '0 1' ] || {
  echo 'the terminal was not given back' >&2; failed=1
}
keys Enter; type_text 'echo it is $((40 + 2))'; keys Enter; await 'it is 42'
# A signal gives it back, too.
type_text "$program step neuron"; keys Enter; await 'forward 1/17'
pid=$(command ps -o pid= --ppid "$(tmux display-message -p -t step '#{pane_pid}')" | tr -d ' ')
kill -TERM "$pid"
for _ in $(seq 100); do
  [ "$(tmux display-message -p -t step '#{alternate_on} #{cursor_flag}')" = '0 1' ] && break
  sleep 0.05
done
[ "$(tmux display-message -p -t step '#{alternate_on} #{cursor_flag}')" = '0 1' ] || {
  echo 'a signal left the terminal as it was in the program' >&2; failed=1
}
keys Enter; type_text 'echo "it left with $?"'; keys Enter; await 'it left with 1'
[ $failed = 0 ] && echo 'the terminal program does as it should'
exit $failed
