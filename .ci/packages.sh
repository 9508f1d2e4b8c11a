# Sourced by run and test: what has to be on the machine, installed where we may, named where we may not.

# need_packages PROGRAM:PACKAGE ...   A program with a slash is a path (a glob is fine).
need_packages() {
  local missing=() pair program package
  for pair in "$@"; do
    program="${pair%%:*}" package="${pair#*:}"
    case "$program" in
      */*) compgen -G "$program" >/dev/null || missing+=("$package") ;;
      *) command -v "$program" >/dev/null 2>&1 || missing+=("$package") ;;
    esac
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing ${missing[*]}"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "missing packages: ${missing[*]}" >&2
    echo "install them (Debian, Ubuntu: apt-get install ${missing[*]}) and try again" >&2
    exit 1
  fi
}

need_rust() {
  command -v cargo >/dev/null 2>&1 && return 0
  echo "missing: a Rust toolchain, 1.95 or newer (rustup, or your distribution's cargo)" >&2
  exit 1
}

need_components() {
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}
