#!/usr/bin/env bash
# Builds every fuzz target and runs each from fresh seeds, as many at a time as there are cores.
#
# usage: smoke.sh [SECONDS]   (per target; 20 by default)
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-20}
cargo run -q --locked -p seeds
cargo fuzz build -s none
cargo fuzz list | xargs -P "$(nproc)" -I{} bash -c '
    if ! log=$(cargo fuzz run -s none {} -- -max_total_time='"$seconds"' -max_len=4096 -timeout=10 -dict=dictionary.txt 2>&1); then
        printf "%s\n" "$log" >&2
        exit 255
    fi
    printf "%s: %s\n" {} "$(grep ^Done <<<"$log")"
'
