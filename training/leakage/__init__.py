"""How what tells the outcome too well shows: in times, in values, in onsets."""
