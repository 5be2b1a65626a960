"""Other CPUs than this machine's: the runtime under qemu, and a simulation of 16-bit sums in numpy."""
