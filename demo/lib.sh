# shellcheck shell=bash
# What both forms of the demo share. To be sourced.

data=$(cd "$(dirname "${BASH_SOURCE[0]}")/data" && pwd)
PATH=$(dirname "$PULLSCOPE"):$PATH:/usr/sbin:/sbin

heading() { printf '\n== %s\n' "$*"; }

# Shows a command line and runs it; a status other than 0 is part of what is shown.
show() {
  local status=0
  printf '\n$ %s\n' "$1"
  timeout --foreground 60 bash -c "$1" || status=$?
  ((status == 0)) || printf '(exit status %d)\n' "$status"
}

# Copies a file of data/ here, with the place of this directory filled in.
place() { sed "s|@HERE@|$PWD|g" "$data/$1" >"$1"; }

# Waits until a command line succeeds, for at most so many seconds.
wait_for() {
  local end=$((SECONDS + $1))
  until timeout --foreground 5 bash -c "$2" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# Starts a server in the background, its output in NAME.log, and waits until a command line finds it.
server() {
  local name=$1 proof=$2
  shift 2
  "$@" >"$name.log" 2>&1 &
  wait_for 15 "$proof" || { tail -n 20 "$name.log" >&2; echo "demo: $name did not start" >&2; exit 1; }
}

# What an error text means, without any node.
classify_examples() {
  heading "Texts from pod events"
  show "pullscope classify 'failed to resolve reference \"registry.example.com/app:1\": failed to do request: Head \"https://registry.example.com/v2/app/manifests/1\": dial tcp: lookup registry.example.com on 10.96.0.10:53: server misbehaving'"
  show "pullscope classify --output json 'failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/nginx/manifests/sha256:0f1e: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.'"
}
