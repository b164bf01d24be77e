"""What a config is and costs, in closed form: the tensor table and the folds over it. Never imports torch."""
