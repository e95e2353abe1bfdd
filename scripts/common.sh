# Functions of the other scripts: find a Python, make the virtual environment, install into it.
# Variables that a caller may set: PYTHON (interpreter to use), VENV (directory of the environment).

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${VENV:-$ROOT/.venv}"

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.12 python3.11 python3.10 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python 3.10, 3.11 or 3.12 found; install one, or name it: PYTHON=/path $0" >&2
  return 1
}

# make_venv: creates $VENV unless it exists and works, and puts it first in PATH.
make_venv() {
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    local python
    python="$(find_python)"
    echo "Making a virtual environment in $VENV ($("$python" --version))"
    "$python" -m venv --clear "$VENV"
  fi
  export PATH="$VENV/bin:$PATH"
}

# install WHAT...: pip with these arguments, quiet unless it fails. Modules are compiled when they are
# first imported: most of those in 4 GB of packages never are.
install() {
  echo "Installing $* (a few minutes the first time)"
  python -m pip install --quiet --no-compile --disable-pip-version-check "$@"
}
