"""Signal processing shared by the voices."""
