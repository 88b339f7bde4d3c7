#!/bin/bash
# Four machines, one process each: sbatch slurm.sh. JAX reads the rest from Slurm's variables.
#SBATCH --job-name=metajax
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# SIGTERM comes two minutes before the end of the time, and every process saves; --resume goes on.

srun --kill-on-bad-exit=1 \
  metajax train omniglot --distributed --run-dir "${RUN:-runs/omniglot}" --resume
