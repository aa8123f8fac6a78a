# Sourced by demo.sh and tests/run.sh: installs the Debian packages that are missing, and names those that cannot be had.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "== installing packages: ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "error: these packages are missing and there is no sudo to install them: ${missing[*]}" >&2; return 1; }
    sudo=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq || echo "warning: apt-get update failed; trying with the package lists that are there" >&2
  for package in "${missing[@]}"; do
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$package" >/dev/null || { echo "error: the package $package cannot be installed" >&2; return 1; }
  done
}
BUILD_PACKAGES="build-essential cmake ninja-build pkg-config libopenblas-dev libinih-dev libpng-dev libjpeg62-turbo-dev libwebp-dev libtiff-dev zlib1g-dev libyajl-dev libexpat1-dev libyaml-dev glslang-tools spirv-tools libvulkan-dev mesa-vulkan-drivers"
