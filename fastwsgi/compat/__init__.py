"""Moving in from other servers: their files, their command lines, and what frameworks expect."""
