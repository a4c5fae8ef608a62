"""Batch jobs: a file is sent, scored in a process of its own, and fetched when it is done."""
