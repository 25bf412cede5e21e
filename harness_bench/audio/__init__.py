"""What a waveform is: reading, frames, batches."""
