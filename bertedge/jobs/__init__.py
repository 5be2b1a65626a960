"""Many texts: files in and files out, and tables on many machines."""
