"""One class per endpoint of the interface. A responder makes one call to a service and holds no error handling."""
