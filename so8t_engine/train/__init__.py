"""Retraining: the loop, its optimizer, its loss and its state on disk."""
