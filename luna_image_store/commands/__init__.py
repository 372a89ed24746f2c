"""Commands that work directly on a storage. The service may run or not."""
