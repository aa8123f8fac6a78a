# To be sourced: brings XLA's plugin for the CPU from PyPI (xla-cpu-pjrt, Apache-2.0, 63 MB), with the header that the backend pjrt is built
# with, into CVR_WHEELS or ~/.cache/cvrun, once. Sets pjrt_headers, and CVR_PJRT_PLUGIN for the tests; both are empty where PyPI is not to be had.
fetch_pjrt() {
  local folder=${CVR_WHEELS:-$HOME/.cache/cvrun} wheel
  pjrt_headers=
  if ! ls "$folder"/xla_cpu_pjrt-*.whl >/dev/null 2>&1; then
    python3 -m pip download -q --no-deps --retries 1 --timeout 10 -d "$folder" xla-cpu-pjrt >/dev/null 2>&1 || { echo "xla-cpu-pjrt is not to be had: no backend pjrt, and no tests of it"; return 0; }
  fi
  wheel=$(ls "$folder"/xla_cpu_pjrt-*.whl | tail -n 1)
  if [ ! -f "$folder/pjrt/xla_plugins/xla_cpu_pjrt/include/pjrt_c_api.h" ]; then
    python3 -m zipfile -e "$wheel" "$folder/pjrt" || { echo "$wheel cannot be unpacked: no tests of the backend pjrt"; return 0; }
  fi
  pjrt_headers=$folder/pjrt/xla_plugins/xla_cpu_pjrt/include
  : "${CVR_PJRT_PLUGIN:=$folder/pjrt/xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so}"
  export CVR_PJRT_PLUGIN
}
