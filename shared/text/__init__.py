"""Language-neutral text work that more than one service needs."""
