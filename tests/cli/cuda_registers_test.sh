#!/usr/bin/env bash
# cuda_registers_test.sh FOLDER: what the assembler told of each device kernel for CUDA, on every architecture that was compiled. Groups have 256
# threads: of 96 registers two of them fit on a multiprocessor, and what is spilled goes to memory.
set -euo pipefail
folder=$1 most_registers=96 most_spilled=32
awk -v registers=$most_registers -v spilled=$most_spilled '
  /Compiling entry function/ {kernel = $6 " for " $8}
  /bytes spill stores/ {if ($5 + $9 > spilled) {print "spills " $5 " and " $9 " bytes: " kernel; bad = 1}}
  /Used [0-9]+ registers/ {n++; for (i = 1; i < NF; i++) if ($i == "Used" && $(i + 1) > registers) {print $(i + 1) " registers: " kernel; bad = 1}}
  END {print n " kernels were looked at"; exit bad || n < 40}' "$folder"/*.fatbin.txt
