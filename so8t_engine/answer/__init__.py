"""The answer of the model: its four sections and its four fields."""
