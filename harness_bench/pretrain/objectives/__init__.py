"""What a pretraining step minimises, one file each."""
