#!/usr/bin/env bash
# Many images on a cluster with SLURM: an array of tasks, each of which makes a shard of the images; then they are joined.
#
#   sbatch --array=1-8 recipes/slurm.sh MODEL N OUT [OPTION...]
#   sbatch --dependency=afterok:JOB --wrap 'phonybrains join OUT.shards/* --out OUT'
#   e.g. sbatch --array=1-8 recipes/slurm.sh heads 100000 samples --steps 2 --engine compiled
#
# There are as many shards as tasks. A task that is stopped, or preempted, goes on where it was when it is started again:
# sbatch --array=3 makes the third shard anew, if SHARDS says how many there are (SHARDS=8 sbatch --array=3 …). All tasks
# take the same options and the same number of cores, so that their images have the bits of one run.
#SBATCH --job-name=phonybrains
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.txt
set -euo pipefail
[ $# -ge 3 ] && [ -n "${SLURM_ARRAY_TASK_ID:-}" ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PATH=$PATH:${SLURM_SUBMIT_DIR:-.}/recipes/bin  # where the command is not on it
model=$1 n=$2 out=$3
shift 3
shard=$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
mkdir -p "$out.shards"
exec phonybrains generate "$model" -n "$n" --shard "$shard" --out "$out.shards/$SLURM_ARRAY_TASK_ID" "$@"
