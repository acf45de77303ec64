"""Facts about this machine: processor, threads, energy counter, installed packages."""
