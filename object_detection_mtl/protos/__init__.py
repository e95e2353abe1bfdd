"""The configuration schema: modules generated from `protos/*.proto` when the package is built.

In a checkout they appear with `pip install -e .` or `python setup.py build_protos`; they are never
edited and never committed. Only `config`, `builders` and `jobs` import them.
"""
