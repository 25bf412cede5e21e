"""s3prl_plugin."""
