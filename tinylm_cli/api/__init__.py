"""The Python API: ``import tinylm_cli as tinylm``.

A thin facade over the functions that the commands call. Keyword arguments have the names of the options, and every
function returns the report of its command; docs/json.md lists the fields. Only :meth:`Model.build` imports torch.
"""
