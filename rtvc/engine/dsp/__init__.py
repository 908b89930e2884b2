"""Signal processing shared by all voices."""
