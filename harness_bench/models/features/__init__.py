"""Features of frozen models, kept by what made them: in memory first, on disk behind it.

`config` says where and how much, `identity` what a model is, `entries` what one file holds,
`disk` which files stay, `store` ties them together.
"""
