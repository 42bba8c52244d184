"""Files that are whole or absent, locks, workers and settings."""
