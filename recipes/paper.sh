#!/usr/bin/env bash
# Both experiments of the paper at its numbers, on scans that you have. Stop it whenever you like: the same command goes
# on where it was, and pays for nothing twice.
#
#   bash recipes/paper.sh OUT SOURCE...      e.g.  bash recipes/paper.sh out brain-mri head-ct
#
# The paper has 2300 MRI and 1300 CT; any number will do.
#
#   OPENAI_API_KEY=…     the key of the text-to-image service; without it the first experiment is left out
#   SERVICE=service.toml another service, see docs/text-to-image.md
#   BUDGET=15            the most that its images may cost, in the currency of its price
#   PRESET=gpu           how the model is trained: cpu or gpu (docs/train.md)
#   FEATURES=…           SqueezeNet weights (safetensors), for training and evaluation
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(dirname "$0")
PATH=$PATH:$here/bin  # where the command is not on it
out=$1
shift
budget=${BUDGET:-15}
preset=${PRESET:-gpu}

phonybrains import "$@" --out "$out/corpus" --config "$here/import.toml"

# A set of images is measured and searched for copies of scans, then 20 MRI and 20 CT of it become a study for two readers.
judge() {  # NAME
    [ -d "$out/$1-evaluation" ] ||
        phonybrains evaluate "$out/$1" --against "$out/corpus" --out "$out/$1-evaluation" \
            ${FEATURES:+--features "$FEATURES"}
    [ -d "$out/$1-study" ] ||
        phonybrains study design --preset paper --synthetic "$out/$1" --evaluation "$out/$1-evaluation" \
            --out "$out/$1-study"
}

# Experiment 1: a text-to-image service. A few more images than are shown, since some requests are refused.
if [ -n "${OPENAI_API_KEY:-}${SERVICE:-}" ]; then
    phonybrains imagine --preset paper -n 48 --out "$out/imagined" --budget "$budget" ${SERVICE:+--config "$SERVICE"}
    judge imagined
fi

# Experiment 2: a latent diffusion model, and 95 images of it.
phonybrains train "$out/corpus" --out "$out/model" --preset "$preset" ${FEATURES:+--features "$FEATURES"}
phonybrains generate "$out/model" -n 95 --out "$out/samples" --grid "$out/samples.png"
judge samples

cat <<END
Each study is now for its readers; nobody else needs to be at this machine:
  phonybrains study serve $out/samples-study        prints a link for each reader
  phonybrains study analyse $out/samples-study --out $out/samples-report
END
[ ! -d "$out/imagined-study" ] || echo "The images of the text-to-image service: the same with imagined for samples."
