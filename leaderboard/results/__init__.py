"""Result files that come with the project."""
