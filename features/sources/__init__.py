"""Where events come from: each module turns one real format into the canonical tables."""
