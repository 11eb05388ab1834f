"""The dashboard: Gradio pages over the engine's surface."""

import os

# Read by gradio and huggingface_hub when they are first imported: nothing is reported, nothing is downloaded.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
