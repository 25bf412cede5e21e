"""The border with s3prl: import hook, bridges, feature cache, classification head, probes."""
