"""From events to decisions: scoring, batch files and the HTTP service."""
