"""The rules of replenishment: what runs short where, how much of it is asked for, and what became of that."""
