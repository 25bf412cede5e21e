"""Data folders, sets and tokens as ESPnet reads them."""
