#!/bin/sh
# The model that ships with phonybrains, from its two public sources, on one GPU. Stop it whenever you like: the same
# command goes on where it was.
#
#   sh recipes/train-gpu.sh OUT SOURCE...      e.g.  sh recipes/train-gpu.sh out brain-mri head-ct
#
# FEATURES=squeezenet.safetensors adds the perceptual term and, at the end, the figures of bench/quality.py.
set -eu
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(dirname "$0")
PATH=$PATH:$here/bin  # where the command is not on it
out=$1
shift

phonybrains import "$@" --out "$out/corpus" --config "$here/import.toml"
phonybrains train "$out/corpus" --out "$out/model" --preset gpu --config "$here/shipped.toml" \
    ${FEATURES:+--features "$FEATURES"}
phonybrains generate "$out/model" -n 95 --out "$out/samples" --grid "$out/samples.png"
if [ -n "${FEATURES:-}" ]; then
    python "$here/../bench/quality.py" "$out/model" --corpus "$out/corpus" --features "$FEATURES" \
        --steps 1 2 4 16 --out "$out/quality.json"
fi
