"""Settings of families so small that they train in a second; iterations are the tests' own."""

DEFAULTS = """
name = "tiny"
[defaults.model]
encoder_layers = 2
encoder_embed_dim = 32
encoder_ffn_embed_dim = 48
encoder_attention_heads = 4
conv_dim = [16, 16, 16, 16, 16, 16, 32]
conv_pos = 16
conv_pos_groups = 4
[defaults.labels]
clusters = 10
kmeans_iterations = 3
[defaults.pretrain]
max_update = 3
max_seconds = 4.0
num_buckets = 2
final_dim = 16
num_workers = 0
"""
TEACHERS = """
[[iterations]]
name = "first"
labels = { source = "mfcc" }
[[iterations]]
name = "second"
teacher = "first"
labels = { source = "hidden", layer = 1 }
"""
