"""The synthetic Arabic corpus of the demo, spoken by eSpeak NG, and the demo's TOML files."""
