"""Mock observations of haloes and of their surroundings."""
