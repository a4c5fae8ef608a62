"""The service at its edge: what guards it, what its routes take and give, and what it tells about itself."""
