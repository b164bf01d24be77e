"""Convert weights between Hugging Face checkpoints and tinylm models. Only this part of ``interop`` imports torch."""
