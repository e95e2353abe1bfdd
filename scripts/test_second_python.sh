#!/usr/bin/env bash
# Run the lint and some quick tests on a second Python, 3.10 or 3.12, in a virtual environment of its
# own. Without another Python, or if its packages take more than four minutes to install, it says so.
#
#   scripts/test_second_python.sh [directory of the environment]      default: a temporary one
set -euo pipefail
source "$(dirname "$0")/common.sh"
cd "$ROOT"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
FIRST="$("$(find_python)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

# Prints the path of a Python of another version: a command, or one of pyenv.
find_second_python() {
  local version candidate
  for version in 3.12 3.10 3.11; do
    [ "$version" != "$FIRST" ] || continue
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
      if "$candidate" -c 'import ensurepip' 2>/dev/null; then
        echo "$candidate"
        return
      fi
    done
  done
}

PYTHON="$(find_second_python)"
if [ -z "$PYTHON" ]; then
  echo "Second Python skipped: only Python $FIRST is here, expected 3.10, 3.11 or 3.12 besides it"
  exit 0
fi
TEMPORARY="$(mktemp -d)"
trap 'rm -rf "$TEMPORARY"' EXIT
VENV="${1:-$TEMPORARY/venv}"
make_venv
echo "Second Python: $(python --version)"
status=0
timeout 240 python -m pip install --quiet --no-compile --disable-pip-version-check \
  --editable . "pytest>=8" "hypothesis>=6.100" "ruff>=0.6" || status=$?
if [ "$status" = 124 ]; then  # of `timeout`
  echo "Second Python skipped: the installation takes more than four minutes"
  exit 0
fi
[ "$status" = 0 ] || exit "$status"
ruff check .
python -m compileall -q object_detection_mtl
timeout 200 python -m pytest -q -x -m "not slow and not long" \
  tests/config tests/ops/test_boxes.py tests/ops/test_losses.py tests/test_lazy_package.py || status=$?
if [ "$status" = 124 ]; then
  echo "Second Python: the tests were stopped after 200 s; none had failed"
  exit 0
fi
exit "$status"
