"""How gunicorn serves the application: its options, hooks, logger and worker."""
