"""Work on result files: check them, add one to a folder, list them, compare two sets."""
