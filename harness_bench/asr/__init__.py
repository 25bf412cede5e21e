"""The border with ESPnet: frontend, launcher, data stages without Kaldi, and one call for all."""
