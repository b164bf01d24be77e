"""What stands in the way of a model in other engines and on GPUs, by its sizes: no class of a library is needed."""
