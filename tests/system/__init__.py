"""Tests of the service as it is run: real processes, sockets and disks. Nothing here imports the package."""
