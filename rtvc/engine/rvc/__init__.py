"""RVC voices: from blocks of input to blocks of output."""
