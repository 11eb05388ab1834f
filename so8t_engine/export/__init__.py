"""Bringing a model out: GGUF files that need nothing of ours to run."""
