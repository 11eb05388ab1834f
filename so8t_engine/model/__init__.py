"""The model: loading it, adapting it, folding the adaptation in, reading answers from it."""
