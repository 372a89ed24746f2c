"""Records as objects on S3."""
