"""From targets to configs: an exact search of a stated grid of shapes in closed form, ranked."""
