"""espnet_plugin."""
