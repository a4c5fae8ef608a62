"""What is known about a lead at a moment: the definition, the events, the windows and the columns made of them."""
