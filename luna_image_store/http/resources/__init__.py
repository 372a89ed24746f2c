"""One class per endpoint of the interface. A responder calls one service and has no error handling."""
