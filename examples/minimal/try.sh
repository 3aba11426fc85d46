#!/bin/sh
# try.sh MINIMAL: runs one of them, and two more that dial it, by QUIC and by WebRTC; waits until they are connected so.
set -eu

chain=a7351abc7ddf2ea92d1b38cc8e636c271c1dfd2c081c637f62ebc2af34eb7cc1
case $1 in
  */*) program=$1 ;;
  *) program=./$1 ;;
esac
work=$(mktemp -d)
mkfifo "$work/first" "$work/quic" "$work/webrtc"
first='' quic='' webrtc=''
trap 'kill $first $quic $webrtc 2>/dev/null; rm -rf "$work"' EXIT
timeout 60 "$program" $chain 0 >"$work/first" &
first=$!
exec 3<"$work/first"
# It listens on every address of the machine; 127.0.0.1 is the one to reach it here. QUIC's address comes first.
read -r _ _ by_quic <&3
read -r _ _ by_webrtc <&3
here() {
  printf '%s' "$1" | sed 's|/0\.0\.0\.0/|/127.0.0.1/|'
}
timeout 60 "$program" $chain 0 "$(here "$by_quic")" >"$work/quic" &
quic=$!
exec 4<"$work/quic"
timeout 60 "$program" $chain 0 "$(here "$by_webrtc")" >"$work/webrtc" &
webrtc=$!
exec 5<"$work/webrtc"

# connected DESCRIPTOR TRANSPORT: whether such a line comes.
connected() {
  while read -r line <&"$1"; do
    case $line in
      *" connected: "*" by $2") return 0 ;;
      *"cannot dial"*) break ;;
    esac
  done
  echo "FAILED: ${line:-no output}" >&2
  return 1
}

failed=0
connected 4 quic || failed=1
connected 5 webrtc || failed=1
echo "minimal: $((1 - failed)) passed, $failed failed"
exit $failed
