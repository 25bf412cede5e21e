"""The leaderboard: tables, plots and a static page made from result files."""
