"""``python -m bertedge``."""

from bertedge.cli.app import main

main()
