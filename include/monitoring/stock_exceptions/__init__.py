"""What is out of order in the stock: found every day, kept, told, and shown on a page."""
