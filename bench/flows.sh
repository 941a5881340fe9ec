# What flows.py runs: the flows of the README on small sets, each below its heading, in one folder, in this order.
# A line is a step, with the indented lines below it. $CHECKOUT is the checkout that `phonybrains` comes from, $DATA the
# folder of real scans, $OLD that of an earlier run. Names with a dot in front are inputs, and are not compared.

## inputs
mkdir -p "$HOME/.config/phonybrains"; printf '1%.0s' {1..64} > "$HOME/.config/phonybrains/pseudonym.key"
printf 'size = 64\n[sources.scans]\nlicence = "CC0-1.0"\n' > .import.toml
printf 'diffusion = "ddpm"\n[autoencoder.loop]\nsteps = 20\n[denoiser.loop]\nsteps = 20\n' > .ddpm.toml
cat > .lora.toml <<END
    precision = "fp32"
    rank = 4
    steps = 3
    min_patients = 0
    loop = { steps = 4, batch_size = 4 }
    END
cat > .study.toml <<END
    synthetic = { MR = 6, CT = 6 }
    real = { MR = 6, CT = 6 }
    repeats = { share = 0.1, least = 4, gap = 6 }
    split = "any"
    training = 4
    checks = 2
    fillers = 0
    same_history = []
    END

## help
phonybrains
phonybrains --version
for command in import phantom fetch train finetune generate imagine evaluate serve study audit model demo; do
    echo "== $command"; phonybrains $command --help
    done
for command in design power serve analyse import-answers simulate verify; do
    echo "== study $command"; phonybrains study $command --help
    done
for command in info card push pull; do echo "== model $command"; phonybrains model $command --help; done
phonybrains audit cascade --help

## phantom
phonybrains phantom -n 120 --size 64 --as-scans --seed 1 --out scans
phonybrains phantom -n 4 --out phantoms

## import
phonybrains import scans --out corpus --config .import.toml
phonybrains import scans phantoms --size 96 --bits 16 --seed 3 --out mixed

## import pictures, if DATA/brain-mri
for set in brain-mri head-ct; do
    mkdir -p .few/$set/images
    head -17 "$DATA/$set/metadata.csv" > .few/$set/metadata.csv
    tail -n +2 .few/$set/metadata.csv | cut -d, -f1 | while read -r name; do cp "$DATA/$set/$name" .few/$set/$name; done
    done
phonybrains import .few/brain-mri .few/head-ct --out pictures

## import dicom, if DATA/dicom
phonybrains import "$DATA/dicom" --size 64 --out volumes
phonybrains import "$DATA/dicom/ct-head" --size 64 --no-window --plane sagittal --out sagittal

## train
phonybrains train corpus --out model --preset tiny --conditions plane age_years
phonybrains train corpus --out model-ddpm --preset tiny --config .ddpm.toml --seed 1

## generate
phonybrains generate model -n 24 --out samples --grid samples.png
phonybrains generate model -n 4 --seed 7 --where modality=CT plane=axial --steps 4 --out few-step
phonybrains generate model -n 4 --where modality=MR --steps 5 --sampler heun --guidance 2.5 --out heun
phonybrains generate model -n 4 --steps 5 --sampler ddim --batch-size 2 --precision bf16 --out ddim
phonybrains generate model-ddpm -n 4 --steps 7 --sampler ddpm --out ddpm
python -c "
    import phonybrains as pb
    made = pb.LatentDiffusion.load('model').generate(n=5, where={'modality': 'CT'}, seed=7)
    print(made.images.shape, made.images.sum(), made.conditions)"

## heads
phonybrains model info heads
phonybrains generate heads -n 4 --seed 7 --steps 2 --out heads-2
phonybrains generate heads -n 2 --seed 7 --where modality=CT --steps 3 --precision fp32 --out heads-3
phonybrains generate heads -n 2 --where modality=CT hemorrhage=epidural --out epidural --grid epidural.png

## share
phonybrains model info model
phonybrains model card model
phonybrains model push heads ./heads
phonybrains model push model ./pushed
phonybrains model pull ./pushed --out pulled
env -u PYTHONPATH "$PYTHON" -c "
    import diffusers
    for folder in ('heads', 'model'):
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
        for i, picture in enumerate(pipe(n=2, where={'modality': 'CT'}, seed=7, steps=3).images):
            picture.save(f'diffusers-{folder}-{i}.png')"
python -c "
    import numpy as np
    from PIL import Image
    for i in range(2):
        one, two = (np.asarray(Image.open(f), int) for f in (f'heads-3/images/{i:06}.png', f'diffusers-heads-{i}.png'))
        print('diffusers and generate: apart by', abs(one - two).max())"

## import synthetic images
phonybrains import samples --synthetic --generator "Midjourney 8" --size 64 --out foreign

## evaluate
phonybrains evaluate samples --against corpus --attribute plane --out evaluation

## audit
phonybrains audit samples --against corpus --out audit

## cascade
phonybrains audit cascade scans --generations 1 --out cascade

## study
phonybrains phantom -n 80 --size 64 --seed 2 --out made
phonybrains phantom -n 80 --size 64 --seed 4 --as-scans --out real
phonybrains study design --synthetic made --real real --config .study.toml --seed 7 --accept-unaudited --out study
phonybrains study simulate study --readers 3
phonybrains study analyse study --out report

## study of the paper
phonybrains study design --preset paper --synthetic made --seed 7 --accept-unaudited --out paper
phonybrains study simulate paper --readers 2 --unclear 0.2 --seed 5
phonybrains study analyse paper --out paper-report
phonybrains study power
phonybrains study power --question equivalence --readers 6 --phony 60

## serve and imagine
"$PYTHON" -m phonybrains serve model --port 0 > .serve 2>&1 & service=$!
    until grep -q '/v1' .serve; do kill -0 $service || exit 1; sleep 0.2; done
    address=$(grep -o 'http://127.0.0.1:[0-9]*' .serve | head -1)
    printf 'model = "model"\nsize = ""\nside = 64\nsend_seed = true\nbase_url = "%s"\n' "$address/v1" > .service.toml
    for page in / /v1/models; do
        python -c "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())" $address$page
    done
    phonybrains imagine --preset paper -n 6 --concurrency 1 --out imagined --config .service.toml
    kill $service; wait $service; cat .serve

## finetune
mkdir .base
    export PYTHONPATH=$(dirname "$(find "$CHECKOUT/tests" -name stable_diffusion_files.py)")
    python -c "import pathlib, stable_diffusion_files as files; files.make_base(pathlib.Path('.base/sd'))"
phonybrains finetune .base/sd corpus --out lora --config .lora.toml
phonybrains generate lora -n 2 --prompt "axial MRI of the brain" --out lora-samples

## wrong inputs
phonybrains frobnicate
phonybrains phantom -n 8
phonybrains phantom -n 8 --size 65 --out .no
phonybrains import nowhere --out .no
phonybrains import scans --out corpus
phonybrains import scans --bits 12 --out .no
echo "no picture" > .broken.png; phonybrains import .broken.png --out .no
echo "sise = 64" > .wrong.toml; phonybrains import scans --config .wrong.toml --out .no
phonybrains train nowhere --out .no
phonybrains train corpus --preset tinny --out .no
phonybrains train corpus --preset tiny --conditions plain --out .no
phonybrains generate heeds -n 2 --out .no
phonybrains generate heads -n 8 --where modality=CT hemorrhage=epidurla --out .no
phonybrains generate heads -n 8 --where modality=CT hemorrhage=subdural --out .no
phonybrains generate model -n 2 --sampler heunn --out .no
phonybrains generate model -n 2 --prompt brain --out .no
cp -r model .damaged; truncate -s 1000 .damaged/unet/*.safetensors; phonybrains generate .damaged -n 2 --out .no
phonybrains evaluate samples --against nowhere --out .no
phonybrains evaluate samples --against corpus --only qality --out .no
phonybrains evaluate corpus --against corpus --out .same
phonybrains study design --synthetic corpus --out .no
phonybrains study design --synthetic samples --real corpus --out .no
phonybrains study analyse corpus --out .no
phonybrains study simulate corpus
phonybrains study power --readers 0
phonybrains model info nowhere
phonybrains model pull ./nowhere --out .no
phonybrains imagine brain --out .no
phonybrains imagine "MRI of a brain" --out .no
phonybrains fetch x --out .no
phonybrains finetune ./nowhere corpus --out .no
phonybrains serve heads --port 99999

## folders of an earlier run, if OLD/model
mkdir .old; cp -r "$OLD"/{corpus,samples,model,model-ddpm,heads,study,evaluation,lora,.base} .old
phonybrains model info .old/heads
phonybrains generate .old/model -n 4 --seed 7 --out old-samples
phonybrains generate .old/model-ddpm -n 2 --out old-ddpm
phonybrains generate .old/heads -n 2 --steps 4 --out old-heads
phonybrains generate .old/lora -n 2 --out old-lora
phonybrains study verify .old/study
phonybrains study analyse .old/study --out old-report
phonybrains evaluate .old/samples --against .old/corpus --only memorisation --out old-evaluation
phonybrains study design --preset paper --synthetic .old/samples --evaluation .old/evaluation --seed 3 --out old-study

## demo, if SLOW
phonybrains demo --out demo
