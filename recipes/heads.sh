#!/usr/bin/env bash
# A model of heads from the public sources, anew: an autoencoder, a denoiser, guidance away from the denoiser as it was
# earlier, few-step weights, texture, then its figures on validation and, once, on test. Sized for one H200: about ten minutes, of
# which two compile. Stop it whenever you like: the same command goes on where it was. Each stage says how long it took.
#
#   FEATURES=squeezenet.safetensors bash recipes/heads.sh OUT SOURCE...
#   e.g. bash recipes/heads.sh out brain-mri brain-mri-more head-ct head-ct-more
#
# An image set that is at OUT/corpus already is taken as it is, and no SOURCE is needed: import where the sources lie, carry
# the set to the GPU. MASKS=folder imports the outlines too, and trains with them. CONDITIONS="plane diagnosis" tells the
# model other attributes. PRESET=tiny rehearses it in a minute on two cores; what comes of that is no model.
#
# Of a machine that has PyTorch and no network it needs what pyproject.toml lists as dependencies, above all diffusers,
# accelerate and safetensors. Where they are missing, fetch wheels for its Python and platform elsewhere, carry them along:
#   pip download --only-binary=:all: --no-deps --dest wheels PACKAGE==VERSION...         (versions: constraints.txt)
#   pip install --no-index --no-deps --target site wheels/*.whl && export PYTHONPATH=site:src
# `compile` needs a C compiler there; figures need scikit-learn.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || [ -d "${1:-}/corpus" ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PATH=$PATH:$here/bin  # where the command is not on it
preset=${PRESET:-gpu}
features=${FEATURES:+$(realpath "$FEATURES")}
masks=${MASKS:+$(realpath "$MASKS")}
mkdir -p "$1"
out=$(realpath "$1")
shift
sources=()
for source in "$@"; do sources+=("$(realpath "$source")"); done
cd "$out"

# Steps of each part. At 512 latents a step the denoiser sees 0.77, then 1.33 million images.
case $preset in
tiny) autoencoder=20 earlier=10 later=10 guidance=5 few=3 texture=0 size=64 crop=64 judged="1 2" ;;
*) autoencoder=3000 earlier=1512 later=2600 guidance=81 few=160 texture=1500 size=256 crop=128 judged="1 2 4 16" ;;
esac

stage() {  # NAME COMMAND...
    local began=$SECONDS
    "${@:2}"
    echo "$1: $((SECONDS - began)) s" | tee -a times.txt
}

learn() {  # NAME: a model of this name, by the settings that are read, laid over the preset
    cat > "$1.toml"
    read -ra told <<< "${CONDITIONS:-plane diagnosis hemorrhage age_years sex}"
    stage "$1" phonybrains train corpus --out "$1" --preset "$preset" --config "$1.toml" --conditions "${told[@]}" \
        ${features:+--features "$features"} ${masks:+--masks}
}

judge() {  # SPLIT STEPS...: once, as a split that is looked at often is chosen on
    [ -f "quality-$1.json" ] ||
        stage "figures on $1" env PYTHONPATH="$here/..:$here/../src:${PYTHONPATH:-}" "${PYTHON:-python3}" -m bench quality \
            model --corpus corpus --features "$features" --split "$1" --steps "${@:2}" --out "quality-$1.json" --quick
}

{  # the licences of the sources; the outlines are those of brain-mri and brain-mri-more
    [ -z "$masks" ] || echo 'outline = "tumour"'
    sed "${masks:+s|^\[sources.brain-mri.*|&\nmasks = \"$masks\"|}" "$here/import.toml"
} > import.toml
[ -d corpus ] || stage import phonybrains import "${sources[@]}" --out corpus --size "$size" --config import.toml

# The autoencoder, and a denoiser whose rate has fallen to zero once: the worse one that guidance leads away from.
learn earlier << END
[autoencoder]
crop = $crop
loop.steps = $autoencoder
[denoiser.loop]
steps = $earlier
keep = "last"
[few_step.loop]
steps = 0
[texture.loop]
steps = 0
END

# The same denoiser, longer. The last average, though the validation loss was lower before: its images are better.
learn later << END
start = "earlier"
[autoencoder]
crop = $crop
loop.steps = 0
[denoiser.loop]
steps = $later
keep = "last"
[few_step.loop]
steps = 0
[texture.loop]
steps = 0
END

# Guidance built in, few-step weights along the guided paths, and the texture of real images after decoding.
learn model << END
start = "later"
[autoencoder]
crop = $crop
loop.steps = 0
[denoiser]
variants = 8
[denoiser.loop]
steps = 0
[guidance]
strength = 1.5
worse = "earlier"
[guidance.loop]
steps = $guidance
[few_step.loop]
steps = $few
[texture.loop]
steps = $texture
END

[ -d samples ] || stage "95 images" phonybrains generate model -n 95 --out samples --grid samples.png
if [ -n "$features" ]; then
    read -ra steps <<< "$judged"
    judge validation "${steps[@]}"
    judge test "${steps[@]}"
else
    echo "No figures: they need FEATURES, the weights of SqueezeNet."
fi
echo "$out/model is trained. Search its images for copies before they are shown: phonybrains evaluate"
