"""The master process: it starts, watches, replaces and stops workers."""
