"""The command line: one file for each command. A command parses, makes one library call and prints the result."""
