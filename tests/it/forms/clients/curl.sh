#!/usr/bin/env bash
# usage: curl.sh URL
set -euo pipefail

file=$(mktemp)
trap 'rm "$file"' EXIT
printf 'ID3\r\n--\r\n\xff' >"$file"
curl -sf "$1/audio/transcriptions" -o /dev/null \
    -F language=größe \
    -F "file0=@$file;type=audio/mpeg;filename=\"größe ☃ \\\"q\\\" \\\\b ; x=y, %22 boundary=xyz.mp3\"" \
    -F "file1=@$file;filename=\"name=\\\"model\\\".mp3\"" \
    -F "file2=@$file;filename=\"a"$'\r\n'"X: y.mp3\"" \
    -F model=whisper-1
