"""Pretraining objectives, one file each; `base.py` says what a file must hold."""
