"""Which version is in service: where versions come from, how they are checked, and how one replaces another."""
