"""Which observed clusters look like no mock."""
