"""The server: gunicorn with its options, hooks, logger and worker class."""
