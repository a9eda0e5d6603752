"""The wire: schema and the code generated from it (``python proto/generate.py``)."""
