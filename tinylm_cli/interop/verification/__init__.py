"""Compare the headers of a checkpoint's safetensors files with its config. Imports no torch."""
