"""What people do with incidents: see, decide, and what is announced of it."""
