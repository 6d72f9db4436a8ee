"""The rules of reporting: pure, without input or output."""
