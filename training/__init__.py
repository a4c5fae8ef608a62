"""Everything that learns from recorded trials; nothing that serves imports it."""
