"""The command line: parsing and printing alone; nothing heavy is imported before a verb runs."""
