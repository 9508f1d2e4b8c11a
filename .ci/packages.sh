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

# SSH clients from PyPI, in a virtual environment of their own that is made once; GATEHOUSE_SSH_VENV names it. Without
# them the tests that use them fail, and no others.
need_ssh_clients() {
  local folder="${GATEHOUSE_SSH_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/gatehouse/ssh-clients}"
  export GATEHOUSE_SSH_VENV="$folder"
  [ -x "$folder/bin/ssh-audit" ] && compgen -G "$folder/lib/python3*/site-packages/asyncssh" >/dev/null && return 0
  need_packages '/usr/lib/python3*/ensurepip:python3-venv'
  echo "installing paramiko, asyncssh and ssh-audit into $folder"
  mkdir -p "$folder" && python3 -m venv "$folder" &&
    "$folder/bin/pip" install -q --disable-pip-version-check paramiko==5.1.0 asyncssh==2.24.1 ssh-audit==3.9.0 ||
    echo "cannot install the SSH clients of PyPI: the tests ssh::others::paramiko_and_asyncssh_jump and ssh::others::ssh_audit_* will fail" >&2
}
