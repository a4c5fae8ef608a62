"""What a drafted definition is made of: words, traits, suspects and evidence."""
