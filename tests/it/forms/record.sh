#!/usr/bin/env bash
# Records the forms of all clients again.
#
# Wants curl, go, node with npm, perl with LWP, php with curl, python3 and ruby.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cp clients/* "$work"
python3 -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install -q aiohttp httpx openai requests urllib3
npm install --silent --prefix "$work" axios form-data openai undici

record() {
    "$python" record.py "$@"
}
for client in aiohttp httpx openai requests urllib3; do
    record "python-$client" "$python" "$work/python.py" "$client"
done
for client in axios fetch form-data openai undici; do
    record "node-$client" node "$work/node.mjs" "$client"
done
record curl bash "$work/curl.sh"
record go env NAMES="$work/names.json" go run "$work/multipart.go"
record perl-lwp perl "$work/lwp.pl"
record php-curl php "$work/curl.php"
record ruby-net-http ruby "$work/net_http.rb"
