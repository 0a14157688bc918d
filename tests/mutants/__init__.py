"""Small faults written into the code on purpose: a test must notice each."""
