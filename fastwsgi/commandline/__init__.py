"""What the command says of itself: help, version, manual page and completions."""
