"""What the server counts of itself: shared memory, what is said of it, and to whom."""
