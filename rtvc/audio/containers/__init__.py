"""What sound files state about their length, compared with what they contain."""
