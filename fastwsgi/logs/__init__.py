"""The error log, the file and format of the access log, and what no log shows."""
