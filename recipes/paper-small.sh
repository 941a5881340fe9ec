#!/usr/bin/env bash
# Both experiments of the paper in minutes, on drawn heads: a rehearsal of recipes/paper.sh that needs no scans, no key, no
# readers and no network. What stands for what:
#
#   the scans                    phantoms, 64×64
#   the text-to-image service    phonybrains serve, with a small model, asked over HTTP as any service is
#   the two specialists          simulated readers
#
#   bash recipes/paper-small.sh OUT
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PATH=$PATH:$(dirname "$0")/bin  # where the command is not on it
out=$1
mkdir -p "$out"

phonybrains phantom --n 240 --size 64 --as-scans --out "$out/scans"
cat > "$out/import.toml" <<END
size = 64
[sources.scans]
licence = "CC0-1.0"
END
phonybrains import "$out/scans" --out "$out/corpus" --config "$out/import.toml"

# Experiment 2 comes first, as its model plays the service of experiment 1.
phonybrains train "$out/corpus" --out "$out/model" --preset tiny --conditions plane
phonybrains generate "$out/model" -n 40 --out "$out/samples" --grid "$out/samples.png"

# Experiment 1: 40 images by text.
phonybrains serve "$out/model" --port 0 > "$out/serve.txt" 2>&1 &
service=$!
trap 'kill $service 2>/dev/null || true' EXIT
for _ in $(seq 240); do
    address=$(grep -o 'http://127.0.0.1:[0-9]*/v1' "$out/serve.txt" || true)
    [ -z "$address" ] || break
    kill -0 $service || { cat "$out/serve.txt" >&2; exit 1; }
    sleep 0.5
done
cat > "$out/service.toml" <<END
base_url = "$address"
model = "model"
size = ""
side = 64
send_seed = true
END
phonybrains imagine --preset paper -n 40 --out "$out/imagined" --config "$out/service.toml"
kill $service

# Each set is measured and searched for copies, and 20 MRI and 20 CT of it are shown to two readers.
cat > "$out/evaluate.toml" <<END
[quality]  # few draws of real against real images will do to rehearse
null_draws = 4
permutations = 100
END
for images in imagined samples; do
    phonybrains evaluate "$out/$images" --against "$out/corpus" --only quality memorisation --out "$out/$images-evaluation" \
        --config "$out/evaluate.toml"
    phonybrains study design --preset paper --synthetic "$out/$images" --evaluation "$out/$images-evaluation" \
        --out "$out/$images-study"
    phonybrains study simulate "$out/$images-study" --readers 2
    phonybrains study analyse "$out/$images-study" --out "$out/$images-report"
done
echo "$out/imagined-report/report.html, $out/samples-report/report.html: what the simulated readers made of both"
