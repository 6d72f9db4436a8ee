"""What feedback knows without any machinery: reports, receipts, causes, stories. Pure functions of their arguments."""
