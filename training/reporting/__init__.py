"""The report's parts, its words and its pictures."""
