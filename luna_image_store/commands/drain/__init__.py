"""Makes balancers turn away from a service before it stops."""
