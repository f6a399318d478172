"""Measurements of the server beside its peers. README.md has the method; a module is a tool."""
