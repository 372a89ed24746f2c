"""The HTTP interface: requests in, answers out."""
