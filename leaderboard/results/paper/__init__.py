"""Published figures as printed, each with its citation: the only figures typed by hand."""
