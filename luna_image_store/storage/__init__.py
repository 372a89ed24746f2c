"""Storage of records: `base` is the interface, `disk` and `s3` implement it."""
