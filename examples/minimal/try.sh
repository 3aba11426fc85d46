#!/bin/sh
# try.sh MINIMAL: runs two of them and waits until they are connected.
set -eu

chain=a7351abc7ddf2ea92d1b38cc8e636c271c1dfd2c081c637f62ebc2af34eb7cc1
case $1 in
  */*) program=$1 ;;
  *) program=./$1 ;;
esac
work=$(mktemp -d)
mkfifo "$work/first" "$work/second"
first='' second=''
trap 'kill $first $second 2>/dev/null; rm -rf "$work"' EXIT
timeout 60 "$program" $chain 0 >"$work/first" &
first=$!
exec 3<"$work/first"
read -r _ _ address <&3
# It listens on every address of the machine; this is the one to reach it here.
address=$(printf '%s' "$address" | sed 's|/ip4/0.0.0.0/|/ip4/127.0.0.1/|')
timeout 60 "$program" $chain 0 "$address" >"$work/second" &
second=$!
exec 4<"$work/second"
for output in 3 4; do
  while read -r line <&"$output"; do
    case $line in
      *" connected: "*) continue 2 ;;
      *"cannot dial"*) break ;;
    esac
  done
  echo "FAILED: ${line:-no output}" >&2
  echo 'minimal: 0 passed, 1 failed'
  exit 1
done
echo 'minimal: 1 passed, 0 failed'
