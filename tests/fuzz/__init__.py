"""Files that nobody should trust."""
