"""Records as files on a local disk."""
