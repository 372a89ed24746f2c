"""Records as S3 objects."""
