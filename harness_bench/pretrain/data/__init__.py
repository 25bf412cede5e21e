"""Where training audio comes from: lists of cuts, or shards of thousands of hours."""
