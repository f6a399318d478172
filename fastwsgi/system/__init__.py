"""What a server needs from the operating system: sockets, paths, signals, pid files, systemd."""
