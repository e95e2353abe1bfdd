"""The configuration schema: modules generated from `protos/*.proto` when the package is built.

In a checkout they appear with `pip install -e .` or `python setup.py build_protos`; they are never
edited and never committed. Only `config`, `builders`, `jobs`,
`api` and `odapi` import them.
"""

import importlib.util

if importlib.util.find_spec(f"{__name__}.pipeline_pb2") is None:
    raise ImportError(
        "this checkout has no compiled configuration schema; make it with 'pip install -e .' or "
        "'python setup.py build_protos'"
    )
