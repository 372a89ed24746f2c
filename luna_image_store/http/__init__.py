"""The HTTP interface: requests, responses and the OpenAPI document."""
