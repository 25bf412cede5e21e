"""Features of frozen models, kept by what made them (`store.identity_of`).

`store` keeps utterances by their waveforms, in memory and on disk; `shards` writes those of a data
folder in large files for `reader`.
"""
