"""Masked prediction of labels: masking, batches, loss, the training loop and its family."""
