#!/bin/bash
# All workers of a TPU pod slice: bash tpu.sh NAME ZONE. JAX finds the others by itself.
# /runs is a disk that all workers share.
set -euo pipefail

gcloud compute tpus tpu-vm ssh "$1" --zone "$2" --worker all --command \
  "metajax train omniglot --distributed --run-dir /runs/omniglot --resume"
