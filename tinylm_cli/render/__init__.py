"""From a report to its output: a view makes blocks, and each output format lowers blocks once."""
