"""The settings: one table, the kinds of values, where they come from, and what goes together."""
