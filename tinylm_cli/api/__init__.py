"""The Python API: ``import tinylm_cli as tinylm``.

A thin facade over the library functions that the commands use. Keyword arguments are named like the options, with a
final underscore where Python reserves the word: ``for_``, ``assert_``. Every function returns the report of its
command; docs/json.md lists the fields. Only :meth:`Model.build` imports torch.
"""
