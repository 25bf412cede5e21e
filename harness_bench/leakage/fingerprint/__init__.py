"""Robust fingerprints of audio: the same sound under another gain, codec, start or length."""
