"""GGUF files, the format of llama.cpp. Imports no torch; needs the package ``gguf``, an optional dependency."""
