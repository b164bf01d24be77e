"""From a report to what is shown: a view makes blocks, and each output format lowers blocks once."""
