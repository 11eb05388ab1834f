"""The dashboard: Gradio pages over the engine's surface."""
