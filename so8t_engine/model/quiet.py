"""Importing this module keeps transformers, peft and bitsandbytes quiet: what they say concerns their own developers,
and a person at the console sees our lines."""

import logging
import warnings

import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU", category=UserWarning)
warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted", category=UserWarning)
