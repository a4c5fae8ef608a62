"""Pure scoring: artifact, scorer and reasons. No network, no clock, no state."""
