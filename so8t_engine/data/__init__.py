"""Rows of four-class data: reading, checking, splitting, and turning them into batches."""
