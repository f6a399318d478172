"""What the operating system wants of a server: sockets, paths, signals, pid files, systemd."""
