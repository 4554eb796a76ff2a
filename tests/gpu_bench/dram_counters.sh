#!/bin/sh
# DRAM bytes of single kernels by hardware counters: dram_counters.sh RETROSIM OUT_FOLDER, on a machine with a GPU and
# Nsight Compute. Leaves expected.jsonl and counters.csv for dram_counters.py. Clocks and caches are left as they are.
set -e
retrosim=$1
out=$2
mkdir -p "$out"
ncu --clock-control none --cache-control none --profile-from-start off --replay-mode kernel \
    --metrics dram__bytes_read.sum,dram__bytes_write.sum,gpu__time_duration.sum \
    --csv --page raw --print-units base --log-file "$out/counters.csv" \
    "$retrosim" live counters --out "$out/expected.jsonl"
