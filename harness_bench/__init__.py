"""Arabic self-supervised speech models: pretraining, self-distillation and their benchmark."""

__version__ = "0.1.0"
