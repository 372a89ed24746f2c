"""Stops the requests of load balancers before the service stops."""
