"""Read and write Hugging Face configs and weights as local files; nothing is downloaded, and no model code is run."""
