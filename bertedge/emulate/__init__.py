"""Run bundles as on other CPUs: under qemu, or with 16-bit sums simulated in numpy."""
