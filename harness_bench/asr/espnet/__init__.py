"""All that touches ESPnet."""
