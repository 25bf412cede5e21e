"""Changes to training audio on the fly; labels stay those of the clean audio."""
