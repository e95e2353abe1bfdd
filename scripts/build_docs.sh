#!/usr/bin/env bash
# Build the documentation; warnings are errors. Needs the extra docs (Python 3.11 or later).
#
#   scripts/build_docs.sh [output directory]        default: docs/_build/html
set -euo pipefail
source "$(dirname "$0")/common.sh"
cd "$ROOT"
if [ -x "$VENV/bin/python" ]; then export PATH="$VENV/bin:$PATH"; fi
if ! python -c 'import furo, myst_parser, sphinx' 2>/dev/null; then
  echo "Documentation skipped: Sphinx is not installed (pip install '.[docs]', Python 3.11 or later)"
  exit 0
fi
OUTPUT="${1:-docs/_build/html}"
python -m sphinx -W --keep-going -q -b html docs "$OUTPUT"
echo "Documentation: $OUTPUT/index.html"
