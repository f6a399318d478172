"""What frameworks and tutorials expect of a server: their commands, factories and functions."""
