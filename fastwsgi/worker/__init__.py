"""A worker process: it loads the application and serves until it is asked to stop."""
