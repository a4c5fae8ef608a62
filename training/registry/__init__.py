"""What is told to the registry, and moving the champion by hand."""
