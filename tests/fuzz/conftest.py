"""Sample files of every kind, each with the command that reads it."""
