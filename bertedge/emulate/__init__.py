"""Other CPUs than this one: the real runtime under qemu, and a simulation of the one arithmetic that goes wrong."""
