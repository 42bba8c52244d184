"""Mock observations of haloes and of what stands around them."""
