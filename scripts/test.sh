#!/usr/bin/env bash
# Runs every check: style, types, the quick tests, then the slow ones. Makes its own environment.
#
#   scripts/test.sh              everything
#   scripts/test.sh quick        the quick tests alone
#   scripts/test.sh slow         the slow tests alone
#   scripts/test.sh lint         style and types alone
set -euo pipefail
source "$(dirname "$0")/common.sh"
cd "$ROOT"
make_venv
install --editable ".[test,dev]"
# An editable install compiles the protobuf modules once; do it again where a .proto has changed.
python setup.py --quiet build_protos

lint() {
  ruff check .
  ruff format --check .
  mypy
}
quick() { python -m pytest -q -n 2 --dist loadfile --durations=10 -m "not slow"; }
# The two processes take up to 15 GB together.
slow() { python -m pytest -q -n 2 --dist loadfile --durations=10 -m slow; }

case "${1:-all}" in
  all) lint && quick && slow ;;
  lint | quick | slow) "$1" ;;
  *)
    echo "usage: $0 [all|quick|slow|lint]" >&2
    exit 2
    ;;
esac
