"""From targets to configs: a stated grid of shapes, searched whole in closed form, and the best of what is found."""
