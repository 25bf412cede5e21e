"""Readers of file formats that several corpora share: transcript XML, Kaldi text, STM."""
