"""Configs and weights of Hugging Face, read and written as local files: nothing is downloaded, and no code is run."""
