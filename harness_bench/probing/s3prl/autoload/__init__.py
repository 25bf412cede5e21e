"""A folder for PYTHONPATH: with it, every Python process lets s3prl see this project."""
