"""From a report to its output: a view makes blocks, and each output format converts blocks once."""
