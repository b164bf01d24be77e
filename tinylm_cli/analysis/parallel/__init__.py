"""Parallel training: layouts, sharding, memory per stage, communication and step time."""
