#!/usr/bin/env bash
# Run the checks: style, language, types, documentation, quick tests, slow tests. Makes its own virtual environment.
#
#   scripts/test.sh              all that CI runs: lint, docs, quick, slow
#   scripts/test.sh lint         style, language and types
#   scripts/test.sh docs         the documentation site, warnings are errors
#   scripts/test.sh quick        tests of a few seconds each, 5 minutes in all
#   scripts/test.sh slow         large models, exports, trainings, several processes
#   scripts/test.sh long         full-size repetitions of slow tests; not in CI
set -euo pipefail
source "$(dirname "$0")/common.sh"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
cd "$ROOT"
make_venv
install --editable ".[test,dev,docs]"
# An editable install compiles the protobuf modules once; do it again where a .proto has changed.
python setup.py --quiet build_protos

lint() {
  ruff check .
  ruff format --check .
  python scripts/check_language.py
  mypy
}
docs() { scripts/build_docs.sh; }
# The two processes of the slow tests take up to 15 GB together. Files run in the order of their names:
# by default those of one test would come last, of which one trains for minutes.
run_tests() {
  python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=15 -m "$1"
}
quick() { run_tests "not slow and not long"; }
slow() { run_tests "slow and not long"; }
long() { run_tests "long"; }

case "${1:-all}" in
  all)
    docs &  # It and lint use one core each.
    lint
    wait $!
    quick
    slow
    ;;
  lint | docs | quick | slow | long) "$1" ;;
  *)
    echo "usage: $0 [all|lint|docs|quick|slow|long]" >&2
    exit 2
    ;;
esac
