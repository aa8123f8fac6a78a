# What emu_nets_test and emu_nets_all_test share: five steps of a network on the CPU and on emu, which runs the device kernels, give the same losses.
. "$(dirname "$0")/lib.sh"
recipes=$here/../../apps/recipes
small="data.format=fake data.img_size=16 epochs=1 val.interval=0 run.project=runs"

# follows NAME train's words...: all five losses to 1e-3 of the CPU's, and nothing left to the host
follows() {
  local name=$1 backend folder; shift
  for backend in cpu emu; do
    "$CVRUN" train "$@" name=$name-$backend backend.name=$backend backend.fallback=error >log.txt 2>&1 || { cat log.txt; fail "$name on $backend"; }
  done
  folder=$(dirname runs/*/$name-cpu)
  paste -d, <(cut -d, -f1,3 "$folder/$name-cpu/steps.csv") <(cut -d, -f3 "$folder/$name-emu/steps.csv") | tail -n +2 >losses.csv
  awk -F, '{d = $2 - $3; if (d < 0) d = -d; if (!(d <= 1e-3 * $2)) bad = 1; n++} END {exit bad || n != 5}' losses.csv ||
    { cat losses.csv; fail "$name: five losses on cpu and emu"; }
  checks=$((checks + 1))
}
