"""What tells converters apart: behaviours, thresholds, rules and a point card, with evidence."""
