"""The write side: from record() to the store."""
