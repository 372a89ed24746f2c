"""The tools of the command: they work on a storage directly, beside the service or without it."""
